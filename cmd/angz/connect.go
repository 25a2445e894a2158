package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/angz-dev/angz/emulator/control"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/transport"
)

// serverName stands for the system at the other end in the transport's errors.
const serverName = "angz"

// readyWait is how long a command waits for a system that is not there: long
// enough for one that is just starting, short enough for one who forgot to start it.
const readyWait = time.Second

// tokenVariable holds the bearer token that shows a system who calls.
const tokenVariable = "ANGZARR_TOKEN"

// connection holds the flags of commands that talk to a running system.
type connection struct {
	address       string
	context       string // a name for all of this
	ca, cert, key string // files, for https addresses
	token         string // of a context; empty for that of the variable
}

func (c *connection) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.address, "address", "",
		"where angz answers: host:port, http://, https:// or a socket path (default: the project's running angz dev, the gateway of angz.yaml, or localhost:1316)")
	cmd.Flags().StringVar(&c.context, "context", "", "the system of this name, see \"angz context\" (default: "+contextVariable+", then the one in use)")
	cmd.Flags().StringVar(&c.ca, "ca", "", "the authorities that vouch for it, with https:// (default: transport.tls.ca of angz.yaml, else the system's); a token is taken from "+tokenVariable)
	cmd.Flags().StringVar(&c.cert, "cert", "", "the certificate that shows who you are, if it asks")
	cmd.Flags().StringVar(&c.key, "key", "", "the certificate's key")
}

// dial connects to the system the flags and the configuration name. It does not
// wait for it.
func (c *connection) dial(s streams) (*transport.Client, error) {
	if err := c.resolve(s); err != nil {
		return nil, err
	}
	address, ca := c.address, c.ca
	if address == "" {
		loaded, err := around(s)
		if err != nil {
			return nil, usageError{err}
		}
		running, err := runningGateway(loaded.Dir)
		if err != nil {
			return nil, err
		}
		address = cmp.Or(running, loaded.GatewayAddress())
		if file := loaded.Transport.TLS.CA; ca == "" && file != "" && !filepath.IsAbs(file) {
			ca = filepath.Join(loaded.Dir, file)
		} else if ca == "" {
			ca = file
		}
	}
	secure, err := transport.OpenTLS(transport.TLSOptions{CA: ca, Cert: c.cert, Key: c.key})
	if err != nil {
		return nil, usageError{err}
	}
	token, set := s.lookup(tokenVariable)
	if !set {
		token = c.token
	}
	client, err := transport.Dial(address, transport.DialOptions{Name: serverName, ReadyWait: readyWait, TLS: secure, Token: token})
	if err != nil {
		return nil, usagef("--address: %w", err)
	}
	return client, nil
}

// lookTime is how long a running emulator may take to say where it answers. It is
// long because a busy machine must not make a command go to another system.
const lookTime = 10 * time.Second

// runningGateway returns where the gateway of the project's angz dev answers, which
// may be elsewhere than its file says; empty when none runs. One that runs and does
// not say where is an error: what listens at the usual address may be another system.
func runningGateway(dir string) (string, error) {
	client, err := control.Find(dir)
	if notRunning := (*control.NotRunning)(nil); errors.As(err, &notRunning) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("%w; name a system with --address", err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), lookTime)
	defer cancel()
	status, err := client.Status(ctx)
	if err != nil {
		return "", fmt.Errorf("angz dev runs in %s but does not say where its gateway is: %w; name a system with --address", dir, err)
	}
	for _, endpoint := range status.Endpoints {
		if endpoint.Role == "gateway" {
			return endpoint.Address, nil
		}
	}
	return "", nil
}

// around loads the configuration of the project around the working directory.
func around(s streams) (*config.Config, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find angz.yaml: %w", err)
	}
	return config.Load(config.Options{Dir: dir, Environ: s.environ, NoStore: true})
}

// refuses reports whether a code means that a system says no, as opposed to
// failing.
func refuses(code codes.Code) bool {
	switch code {
	case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied, codes.Unauthenticated,
		codes.FailedPrecondition, codes.Aborted, codes.OutOfRange:
		return true
	}
	return false
}

// codeName returns a code as the gRPC documents write it, such as NOT_FOUND.
func codeName(code codes.Code) string {
	var name strings.Builder
	for i, r := range code.String() {
		if i > 0 && unicode.IsUpper(r) {
			name.WriteByte('_')
		}
		name.WriteRune(unicode.ToUpper(r))
	}
	return name.String()
}

// explain turns an answer's status into what a person is told.
func explain(err error, address string) error {
	answer, ok := status.FromError(err)
	if !ok {
		return err
	}
	message := printableLines(answer.Message())
	if refuses(answer.Code()) {
		return refusal{fmt.Errorf("%s (%s)", message, codeName(answer.Code()))}
	}
	switch {
	case transport.Unreachable(err):
		why, silent := strings.CutSuffix(message, "; is it running?")
		switch { // whoever shows a certificate is running
		case !silent && strings.Contains(why, "transport.tls."):
			return fmt.Errorf("%s\n--ca, --cert and --key say here what transport.tls.ca, .cert and .key say in a configuration", why)
		case !silent:
			return errors.New(why)
		}
		return fmt.Errorf("%s\nis \"angz dev\" running? name another system with --address", why)
	case answer.Code() == codes.Unimplemented:
		return fmt.Errorf("%s does not serve this (%s)\nname a gateway or a coordinator with --address", address, message)
	}
	return fmt.Errorf("%s (%s)", message, codeName(answer.Code()))
}
