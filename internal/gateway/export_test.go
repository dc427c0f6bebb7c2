package gateway

// Routes is the router's table, for the test that holds openapi.yaml to it.
func (g *Gateway) Routes() (list [][2]string) {
	for _, r := range g.routes {
		list = append(list, [2]string{r.method, r.pattern})
	}
	return list
}

// Outbox is how many definition changes no scan worker has been heard of.
func (g *Gateway) Outbox() int {
	g.outbox.mu.Lock()
	defer g.outbox.mu.Unlock()
	return len(g.outbox.waiting)
}

// PublishForged does what is done each minute.
func (g *Gateway) PublishForged() { g.publishForged(g.flusher.store) }

// TellAtOnce has the log told of so many definitions at once.
func (g *Gateway) TellAtOnce(n int) { g.atOnce = n }
