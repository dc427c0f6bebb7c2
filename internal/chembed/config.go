package chembed

import (
	"fmt"
	"os"
	"path/filepath"
)

// Choices for one machine that also runs everything else. Sizes are in bytes.
//
// Memory: the caches below hold at most 240 MiB together, and queries, merges and caches at most memoryLimit; a query that
// needs more spills to disk or fails alone, with MEMORY_LIMIT_EXCEEDED.
//
// Durability: an INSERT is answered after its part and the directory entry are on disk (fsync_after_insert,
// fsync_part_directory), so what was acknowledged survives a power cut as far as the disk keeps its word. Merged parts are synced too
// (min_rows_to_fsync_after_merge, min_compressed_bytes_to_fsync_after_merge): one that is torn may look whole when it is loaded, and
// would stand for its sources.
const (
	memoryLimit = 2 << 30

	serverConfig = `<clickhouse>
  <max_server_memory_usage>%d</max_server_memory_usage>
  <mark_cache_size>67108864</mark_cache_size>
  <primary_index_cache_size>67108864</primary_index_cache_size>
  <index_mark_cache_size>16777216</index_mark_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <index_uncompressed_cache_size>0</index_uncompressed_cache_size>
  <query_condition_cache_size>16777216</query_condition_cache_size>
  <vector_similarity_index_cache_size>16777216</vector_similarity_index_cache_size>
  <text_index_tokens_cache_size>8388608</text_index_tokens_cache_size>
  <text_index_header_cache_size>8388608</text_index_header_cache_size>
  <text_index_postings_cache_size>8388608</text_index_postings_cache_size>
  <parquet_metadata_cache_size>8388608</parquet_metadata_cache_size>
  <iceberg_metadata_files_cache_size>1048576</iceberg_metadata_files_cache_size>
  <compiled_expression_cache_size>33554432</compiled_expression_cache_size>
  <mmap_cache_size>64</mmap_cache_size>
  <background_pool_size>2</background_pool_size>
  <background_merges_mutations_concurrency_ratio>2</background_merges_mutations_concurrency_ratio>
  <background_schedule_pool_size>8</background_schedule_pool_size>
  <background_common_pool_size>2</background_common_pool_size>
  <background_move_pool_size>1</background_move_pool_size>
  <background_fetches_pool_size>1</background_fetches_pool_size>
  <max_thread_pool_free_size>64</max_thread_pool_free_size>
  <merge_tree>
    <fsync_after_insert>1</fsync_after_insert>
    <fsync_part_directory>1</fsync_part_directory>
    <min_rows_to_fsync_after_merge>1</min_rows_to_fsync_after_merge>
    <min_compressed_bytes_to_fsync_after_merge>1</min_compressed_bytes_to_fsync_after_merge>
    <number_of_free_entries_in_pool_to_execute_mutation>1</number_of_free_entries_in_pool_to_execute_mutation>
    <number_of_free_entries_in_pool_to_lower_max_size_of_merge>1</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
    <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>1</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
  </merge_tree>
</clickhouse>
`
)

// engineArgs are the engine's arguments: its configuration, written to a file in dir, and the default settings of every session, after
// which a client's own come. There are no system log tables, as none is configured.
func engineArgs(dir string) ([]string, error) {
	file := filepath.Join(dir, "engine.xml")
	if err := os.WriteFile(file, fmt.Appendf(nil, serverConfig, memoryLimit), 0o600); err != nil {
		return nil, fmt.Errorf("write the engine's configuration: %w; choose another directory with --data", err)
	}
	return []string{
		"--config-file=" + file,
		// Of a server, not of a command-line tool: a bare expression is no query, and nobody looks at stack addresses.
		"--implicit_select=0",
		"--allow_introspection_functions=0",
		// A row is in the table when its INSERT is answered; batching is the client's.
		"--async_insert=0",
		// The profilers interrupt threads with signals, which belong to the Go runtime here.
		"--query_profiler_real_time_period_ns=0",
		"--query_profiler_cpu_time_period_ns=0",
		"--log_queries=0",
	}, nil
}
