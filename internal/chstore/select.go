package chstore

import "context"

// Select runs a query and calls each once a row, with a function that reads the row's columns into dest. It blocks until the last row has
// been read, or until each fails: then it returns that error.
func (s *Store) Select(ctx context.Context, op, sql string, each func(scan func(dest ...any) error) error, args ...any) error {
	rows, err := s.conn.Query(ctx, sql, args...)
	if err != nil {
		return s.wrap(op, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return s.wrap(op, err)
	}
	return nil
}
