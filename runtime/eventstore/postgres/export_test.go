package postgres

// FirstTables returns the statements that made the tables of version 1.
func FirstTables() []string { return migrations[0] }

// Queued is how many requests wait that no batch has.
func (s *Store) Queued() int { return len(s.writer.queue) }
