package generate

// languages are those that code is generated for; each is described in its own
// file.
var languages = map[string]language{
	"go":         golang,
	"python":     {owned: []string{"gen"}},
	"rust":       {owned: []string{"src/gen"}},
	"typescript": typescript,
	"java":       {owned: []string{"src/generated"}},
	"cpp":        {owned: []string{"gen"}},
}
