package config

import (
	"fmt"
	"net"
	"slices"
)

// checkTLS finds certificates that are given by halves. Whether the files are
// right is found out by who opens them.
func (l *loader) checkTLS() {
	t := l.config.Transport.TLS
	for _, half := range []struct{ key, has, other, lacks string }{
		{"transport.tls.cert", t.Cert, "transport.tls.key", t.Key}, {"transport.tls.key", t.Key, "transport.tls.cert", t.Cert},
	} {
		if half.has != "" && half.lacks == "" && !l.settled[half.other] {
			l.blame(half.key, fmt.Sprintf("%s: found no %s beside it, expected both: set %s too", half.key, half.other, half.other))
		}
	}
	if t.ClientAuth == "none" {
		return
	}
	if t.Cert == "" {
		l.blame("transport.tls.client_auth", fmt.Sprintf("transport.tls.client_auth: found %s without TLS, expected transport.tls.cert and transport.tls.key: set them too", t.ClientAuth))
	}
	if t.ClientCA == "" && t.CA == "" {
		l.blame("transport.tls.client_auth", fmt.Sprintf("transport.tls.client_auth: found %s, but nothing that says which authorities vouch for clients, expected transport.tls.client_ca: set it too", t.ClientAuth))
	}
}

// checkAuth finds settings of the gateway that let nobody in, or everybody.
func (l *loader) checkAuth() {
	auth := l.config.Gateway.Auth
	l.checkRules(auth.Rules)
	if l.settled["gateway.auth.mode"] {
		return
	}
	token, mtls := slices.Contains(auth.Mode, "token"), slices.Contains(auth.Mode, "mtls")
	switch {
	case slices.Contains(auth.Mode, "none") && len(auth.Mode) > 1:
		l.blame("gateway.auth.mode", "gateway.auth.mode: found none together with others, expected none alone, or token and mtls")
	case (token || mtls) && len(auth.Rules) == 0 && !l.settled["gateway.auth.rules"]:
		l.blame("gateway.auth.mode", "gateway.auth.mode: found no gateway.auth.rules beside it, so that nobody may do anything, expected a rule for each caller: add them to the file")
	case !token && !mtls && len(auth.Rules) > 0:
		l.warn("gateway.auth.rules is not used: gateway.auth.mode is none, so that everybody may do everything")
	}
	if token && auth.TokensFile == "" && !l.settled["gateway.auth.tokens_file"] {
		l.blame("gateway.auth.mode", "gateway.auth.mode: found token, but nothing that says which tokens there are, expected gateway.auth.tokens_file: set it too")
	}
	if mtls && l.config.Transport.TLS.ClientAuth == "none" && !l.settled["transport.tls.client_auth"] {
		l.blame("gateway.auth.mode", "gateway.auth.mode: found mtls, but nobody asks for certificates, expected transport.tls.client_auth to be request or require: set it too")
	}
	if host := l.config.Server.Host; token && l.config.Transport.TLS.Cert == "" && host != "localhost" && !net.ParseIP(host).IsLoopback() {
		l.warn("tokens travel in clear to server.host %s: set transport.tls.cert and transport.tls.key, unless a proxy on this machine ends TLS", host)
	}
}

func (l *loader) checkRules(rules []AuthRule) {
	for i, rule := range rules {
		path := fmt.Sprintf("gateway.auth.rules[%d]", i)
		switch {
		case l.settled[path]:
		case rule.Identity == "" && !l.settled[path+".identity"]:
			l.blame(path, path+": found no identity, expected identity: and whom the rule is for")
		case len(rule.Commands)+len(rule.Queries) == 0 && !rule.Admin && !l.settled[path+".commands"] && !l.settled[path+".queries"] && !l.settled[path+".admin"]:
			l.blame(path, path+": found nothing that it allows, expected commands, queries or admin")
		}
	}
}
