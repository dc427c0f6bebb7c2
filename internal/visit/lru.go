package visit

import (
	"container/list"
	"strings"
	"sync"
)

// lru keeps the answers to the most recently asked of size questions.
type lru[V any] struct {
	mu    sync.Mutex
	size  int
	order *list.List // of entry[V], most recent first
	byKey map[string]*list.Element
}

type entry[V any] struct {
	key   string
	value V
}

func newLRU[V any](size int) *lru[V] {
	return &lru[V]{size: size, order: list.New(), byKey: make(map[string]*list.Element, size)}
}

// get returns the answer to key, asking compute where it is not known. compute runs without the lock, and
// perhaps twice at once, with the same answer.
func (c *lru[V]) get(key string, compute func() V) V {
	c.mu.Lock()
	if e, ok := c.byKey[key]; ok {
		c.order.MoveToFront(e)
		v := e.Value.(*entry[V]).value
		c.mu.Unlock()
		return v
	}
	c.mu.Unlock()
	v := compute()
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byKey[key]; ok {
		return v
	}
	key = strings.Clone(key) // else a whole request stays in memory with it
	c.byKey[key] = c.order.PushFront(&entry[V]{key, v})
	if c.order.Len() > c.size {
		last := c.order.Back()
		c.order.Remove(last)
		delete(c.byKey, last.Value.(*entry[V]).key)
	}
	return v
}
