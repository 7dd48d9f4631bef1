package auditlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// errNoFile reports something that is there and is no file that could have been
// written by a log.
var errNoFile = errors.New("it is not a file")

// openRegular opens a file for reading. Whoever can write to the directory can
// put a named pipe, a device or a directory in the place of a file; opening or
// reading one could last for ever, and with it the start of the application.
func openRegular(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		if info, e := os.Lstat(name); e == nil && !info.Mode().IsRegular() && !errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w: %v", errNoFile, err)
		}
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: %v", errNoFile, info.Mode().Type())
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
