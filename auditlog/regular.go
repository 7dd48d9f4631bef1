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

// appendRegular opens a file to append to it, and makes it if it is missing. It
// follows no link: whoever can write to the directory could have others write
// elsewhere.
func appendRegular(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if !errors.Is(err, fs.ErrExist) {
		return f, err
	}
	before, err := os.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w: %v", name, errNoFile, before.Mode().Type())
	}
	if f, err = os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0); err != nil {
		return nil, err
	}
	if after, err := f.Stat(); err != nil || !os.SameFile(before, after) {
		_ = f.Close()
		return nil, fmt.Errorf("%s: %w any more", name, errNoFile)
	}
	return f, nil
}

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
