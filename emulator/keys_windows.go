package emulator

import (
	"errors"
	"os"
)

func inForeground(*os.File) bool { return false }

func readSingleKeys(*os.File) (func(), error) { return nil, errors.ErrUnsupported }
