package postgres

// TablesOf returns the statements that made the tables of a version.
func TablesOf(version int) (statements []string) {
	for _, step := range migrations[:version] {
		statements = append(statements, step...)
	}
	return statements
}

// Queued is how many requests wait that no batch has.
func (s *Store) Queued() int { return len(s.writer.queue) }
