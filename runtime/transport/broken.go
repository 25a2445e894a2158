package transport

// NewBroken returns an error that Broken recognises, for who breaks calls on
// purpose. The message says whose connection broke and how.
func NewBroken(message string) error { return withReason(reasonBroken, message) }
