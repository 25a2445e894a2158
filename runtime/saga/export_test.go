package saga

// Refusals lets tests write and read what is kept of refused commands.
func Refusals(reasons map[uint32]string) string {
	refused := map[uint32]*refusal{}
	for index, reason := range reasons {
		refused[index] = &refusal{reason: reason}
	}
	return writeRefusals(refused)
}

// ReadRefusals is readRefusals.
var ReadRefusals = readRefusals
