package config
import ("testing";"os";"fmt";"path/filepath")
func TestTry(t *testing.T){
 for i, s := range []string{
"storag:\n  type: sqlite\n", "storage:\n  type: mysql\n  path: x\n  postgres: {uri: 'postgres://u:pw@h/db', typo: 1}\n",
"domains:\n- name: a\n  run: x\n- domain: a\n  address: foo\n- nme: b\n  run: ''\n- \n- timeout: 10\n  history: new\n  build: {a: b}\n",
"business_logic:\n- domain: order\n  address: localhost:1\nsagas:\n- name: x\n  domains: [oder, billing, order]\n  address: /x\n  dir: nosuch\n  synchronous: yes\n",
"a: b: c\n","ok:\n\ta: 1\n","x: [1\ny: 2\n","storage: [1]\n","- a\n","hello\n","a: 1\n---\nb: 2\n","\xff\xfe","a\x00b",
"storage:\n  type: sqlite\n  type: memory\ndomains: []\nbusiness_logic: []\n", "<<: &x\n  <<: *x\n","messaging:\n  kafka:\n    sasl_password: [hunter2]\n    sasl_pasword: hunter3\nserver: {aggregate_port: 99999, host: 'a b'}\nlimits: {max_message_bytes: 16MB}\nprotos: proto\n",
"domains:\n  - name: x\n    run: y\n    env: {A: 1, B: [2], C: true, D: }\n    snapshots: true\n",
"gateway:\n  port: 1313\n  static_endpoints: {'*': foo, order: 'http://x:y:z'}\n  stream_timeout_secs: 30s\n",
 } {
  dir := t.TempDir()
  f := filepath.Join(dir, "angz.yaml")
  os.WriteFile(f, []byte(s), 0o600)
  os.Chdir(dir)
  c, err := Load(Options{Dev: true, Environ: []string{"ANGZARR_STORAGE__TYP=x","ANGZARR_STORAGE__TYPE=memory","PORT=x"}})
  fmt.Printf("--- %d\n%s---\n%v\n", i, s, err)
  if c != nil { fmt.Println(c.Warnings()) }
 }
}
