package stream

// Watched returns how many correlations somebody waits for.
func (s *Server) Watched() int {
	s.registry.mu.RLock()
	defer s.registry.mu.RUnlock()
	return len(s.registry.watchers)
}
