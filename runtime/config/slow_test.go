package config_test
import ("testing";"strings";"time";"os";"path/filepath";"github.com/angz-dev/angz/runtime/config")
func TestSlow(t *testing.T){
 for name, s := range map[string]string{
  "deep": strings.Repeat("[", 9000), "deepmap": strings.Repeat("{a: ", 9000),
  "lines": strings.Repeat("a: 1\n", 299)+"b: [", "biglines": strings.Repeat("x: "+strings.Repeat("y", 200)+"\n", 299)+"b: [",
  "unknown": func() string { var b strings.Builder; for i := range 50000 { b.WriteString("k"+strings.Repeat("x", i%50)+strings.Repeat("y", i/50%50)+strings.Repeat("z", i/2500)+": 1\n") }; return b.String() }(),
  "bomb": "domains:\n - &a {name: a, watch: &w ["+strings.Repeat("x,", 20000)+"]}\n"+strings.Repeat(" - {<<: *a, watch: *w}\n", 2000),
  "mergebomb": "a: &a {"+strings.Repeat("k: 1, ",5000)+"}\nb: &b {<<: ["+strings.Repeat("*a,", 1000)+"]}\nc: &c {<<: ["+strings.Repeat("*b,", 1000)+"]}\nstorage: {<<: ["+strings.Repeat("*c,", 1000)+"]}\n",
  "names": func() string { var b strings.Builder; b.WriteString("domains:\n"); for range 20000 { b.WriteString(" - {name: a}\n") }; return b.String() }(),
  "subs": func() string { var b strings.Builder; b.WriteString("domains:\n"); for i := range 3000 { b.WriteString(" - {name: a"+strings.Repeat("b", i%60)+strings.Repeat("c", i/60)+", run: x}\n") }; b.WriteString("sagas:\n - {name: x, run: y, domains: ["+strings.Repeat("q,", 10000)+"]}\n"); return b.String() }(),
 } {
  f := filepath.Join(t.TempDir(), "a.yaml"); os.WriteFile(f, []byte(s), 0o600)
  start := time.Now(); _, err := config.Load(config.Options{File: f, Dev: true}); m := ""; if err != nil { m = err.Error(); if len(m) > 200 { m = m[:200] } }
  println(name, len(s), time.Since(start).String()); t.Log(name, len(s), time.Since(start), m)
 }
}
func BenchmarkLoad(b *testing.B){ for b.Loop() { config.Load(config.Options{File:"testdata/every_key.yaml",Dev:true}) } }
