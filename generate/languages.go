package generate

// languages are those that code is generated for; each is described in its own
// file.
var languages = map[string]language{
	"go":         golang,
	"python":     python,
	"rust":       rust,
	"typescript": typescript,
	"java":       java,
	"cpp":        cpp,
}
