"""Makes a Python process on Linux behave like one on Windows, for the modules of the zoo.

Python imports this module at its start if its folder is on $PYTHONPATH, in child processes too.
The environment that belongs to it is `tests.test_windows.ENVIRONMENT`.

- The zoo's modules cannot import POSIX's modules, and in `os` and `signal` they find nothing that
  Windows does not have; `os.name` is "nt" for them. Other libraries, which have code of their own
  for Windows, see Linux.
- A file that any process has open cannot be renamed, replaced or deleted, nor can its folder.
- A backslash separates the parts of a path, temporary files have names, and a lock file is deleted
  when its lock is released.
- The code page is 1252, and a file that is opened without an encoding is an error in the zoo.
"""
import builtins
import contextlib
import errno
import locale
import os
import pathlib
import posixpath
import shutil
import signal
import tempfile
import types
import warnings

MODULES = {"crypt", "curses", "fcntl", "grp", "nis", "posix", "pty", "pwd", "readline", "resource",
           "spwd", "syslog", "termios", "tty"}
MISSING = {
    os: {"chown", "chroot", "confstr", "ctermid", "eventfd", "fchdir", "fchmod", "fchown", "fork",
         "forkpty", "fpathconf", "fstatvfs", "getegid", "geteuid", "getgid", "getgrouplist",
         "getgroups", "getloadavg", "getpgid", "getpgrp", "getpriority", "getresgid", "getresuid",
         "getsid", "getuid", "getxattr", "initgroups", "killpg", "lchown", "listxattr", "lockf",
         "major", "makedev", "memfd_create", "minor", "mkfifo", "mknod", "nice", "openpty",
         "pathconf", "pidfd_open", "pipe2", "posix_fadvise", "posix_fallocate", "posix_openpt",
         "posix_spawn", "posix_spawnp", "pread", "preadv", "pwrite", "pwritev", "readv",
         "register_at_fork", "removexattr", "sched_getaffinity", "sched_setaffinity",
         "sched_yield", "sendfile", "setegid", "seteuid", "setgid", "setgroups", "setpgid",
         "setpriority", "setsid", "setuid", "setxattr", "splice", "statvfs", "sync", "sysconf",
         "tcgetpgrp", "tcsetpgrp", "ttyname", "uname", "wait", "wait3", "wait4", "waitid", "writev",
         "O_ACCMODE", "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_SYNC", "WNOHANG",
         "SCHED_OTHER"},
    signal: {name for name in dir(signal) if name.startswith("SIG") and name not in (
        "SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM", "SIG_DFL", "SIG_IGN")} | {
        "alarm", "getitimer", "pause", "pthread_kill", "pthread_sigmask", "setitimer",
        "siginterrupt", "sigpending", "sigtimedwait", "sigwait", "sigwaitinfo"},
}


class Windows(types.ModuleType):
    """A module of the standard library without what Windows lacks."""

    def __init__(self, module):
        super().__init__(module.__name__)
        self._module, self._missing = module, MISSING[module]

    def __getattr__(self, name):
        if name in self._missing:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} on Windows")
        return getattr(self._module, name)


def refuse_symlink(source, target, target_is_directory=False, **options):
    raise OSError(errno.EPERM, "A required privilege is not held by the client", source, None,
                  target)


WINDOWS = {module.__name__: Windows(module) for module in MISSING}
WINDOWS["os"].name = "nt"
WINDOWS["os"].symlink = refuse_symlink


def is_ours(scope):
    spec = (scope or {}).get("__spec__")
    name = spec.name if spec else (scope or {}).get("__name__") or ""
    return name.partition(".")[0] == "zoo"


real_import = builtins.__import__


def import_as_on_windows(name, globals=None, locals=None, fromlist=(), level=0):
    top = name.partition(".")[0]
    if not level and is_ours(globals):
        if top in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r} on Windows", name=name)
        if top in WINDOWS and (name == top or not fromlist):
            return WINDOWS[top]
    module = real_import(name, globals, locals, fromlist, level)
    if name == "filelock" and not hasattr(module, "on_windows"):
        module.on_windows = True
        delete_when_released(module)
    return module


def delete_when_released(filelock):
    """What filelock's class for Windows does."""
    release = filelock.UnixFileLock._release

    def release_and_delete(self):
        release(self)
        with contextlib.suppress(OSError):
            os.unlink(self.lock_file)
    filelock.UnixFileLock._release = release_and_delete


builtins.__import__ = import_as_on_windows


def open_files():
    """The real paths of the files that any process has open."""
    for process in pathlib.Path("/proc").iterdir():
        if process.name.isdecimal():
            with contextlib.suppress(OSError):  # it has ended, or is another user's
                for descriptor in os.scandir(process / "fd"):
                    with contextlib.suppress(OSError):
                        yield os.readlink(descriptor.path)


def refuses_open_files(function):
    def on_windows(*paths, **options):
        if not any(value is not None for value in options.values()):
            real = [os.path.join(os.path.realpath(os.path.dirname(path) or "."),
                                 os.path.basename(path)) for path in map(os.fsdecode, paths)]
            for opened in open_files():
                if any(opened == path or opened.startswith(path + "/") for path in real):
                    raise PermissionError(errno.EACCES, "The file is used by another process",
                                          opened)
        return function(*paths, **options)
    return on_windows


for name in ("remove", "rename", "replace", "rmdir", "unlink"):
    setattr(os, name, refuses_open_files(getattr(os, name)))
shutil._use_fd_functions = False
tempfile.TemporaryFile = tempfile.NamedTemporaryFile
posixpath.altsep = "\\"  # for pathlib from Python 3.12 on
if hasattr(pathlib, "_PosixFlavour"):
    pathlib._PosixFlavour.altsep = "\\"

locale.getpreferredencoding = lambda do_setlocale=True: "cp1252"
locale.getencoding = lambda: "cp1252"
warnings.simplefilter("ignore", EncodingWarning)
warnings.filterwarnings("error", category=EncodingWarning, module=r"(zoo|__main__)(\.|$)")
