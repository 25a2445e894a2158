package config

import "reflect"

// SameRuntime reports whether two configurations mean the same to the runtime.
// They may differ in what only angz dev looks at: how services are built, started
// and watched.
func (c *Config) SameRuntime(other *Config) bool {
	return reflect.DeepEqual(c.forRuntime(), other.forRuntime())
}

// forRuntime returns a copy without what the runtime does not look at.
func (c *Config) forRuntime() Config {
	bare := *c
	bare.File, bare.Name, bare.warnings, bare.origins, bare.read, bare.written, bare.Generate = "", "", nil, nil, nil, nil, nil
	for _, services := range []*[]Service{&bare.Domains, &bare.Projectors, &bare.Sagas} {
		*services = append([]Service(nil), *services...) // none is none, written or not
		for i := range *services {
			service := &(*services)[i]
			service.Run, service.Build, service.Watch, service.Dir, service.Env = Command{}, Command{}, nil, "", nil
		}
	}
	return bare
}
