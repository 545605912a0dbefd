"""Files inside a .zip or .tar, and those that TensorFlow opens elsewhere, as folders."""
import array
import collections
import posixpath
import struct
import tarfile
import zipfile
import zlib

from zoo.errors import UserError
from zoo.training.data.image_folder import Folders
from zoo.training.data.source import SPLITS, is_hidden

_LOCAL_HEADER, _LENGTHS = 30, 26  # bytes, and where those of name and extra field stand
_STORED, _DEFLATED = 0, 8         # methods: APPNOTE.TXT 4.4.5
_ENCRYPTED = 1                    # a flag: APPNOTE.TXT 4.4.4


class Archive(Folders):
    """The folders of a .zip or .tar, whose files are read without unpacking it.

    Folders around all others are passed over, unless they are named as a split.

    Raises:
        zoo.errors.UserError: if it cannot be read, is encrypted, or its files cannot be read one by
            one, as those of a .tar.gz.
    """

    def __init__(self, path: str):
        self._path = path
        self._numbers: dict[str, int] = {}
        # Where each file starts, its bytes there, how it is compressed and its checksum.
        self._starts, self._sizes = array.array("q"), array.array("q")
        self._methods, self._checksums = array.array("b"), array.array("q")
        self._folders: dict[str, tuple[set, list]] = collections.defaultdict(lambda: (set(), []))
        try:
            (self._list_zip if path.lower().endswith(".zip") else self._list_tar)()
        except (OSError, zipfile.BadZipFile, tarfile.TarError, EOFError, ValueError) as error:
            advice = ""
            if path.lower().endswith(".tar"):
                advice = (" A .tar must not be compressed as a whole, or its files cannot be read "
                          "one by one.")
            raise UserError(f"Cannot read {path}: {error}.{advice}") from None

    def _list_zip(self):
        with zipfile.ZipFile(self._path) as file:
            for info in file.infolist():
                if info.is_dir():
                    continue
                if info.flag_bits & _ENCRYPTED or info.compress_type not in (_STORED, _DEFLATED):
                    raise UserError(f"{self._path}: {info.filename} is encrypted, or compressed by "
                                    "another method than deflate. Unpack the archive and name the "
                                    "folder.")
                self._add(info.filename.replace("\\", "/"), info.header_offset, info.compress_size,
                          info.compress_type, info.CRC)

    def _list_tar(self):
        with tarfile.open(self._path, "r:") as file:
            for member in file:
                file.members.clear()  # type: ignore[attr-defined] # a million would fill memory
                if member.isreg():
                    self._add(member.name, member.offset_data, member.size, _STORED, -1)
                elif member.islnk():  # a second name of a file before it
                    number = self._numbers.get(posixpath.normpath(member.linkname))
                    if number is not None:
                        self._add(member.name, self._starts[number], self._sizes[number], _STORED,
                                  -1)

    def _add(self, name, start, size, method, checksum):
        name = posixpath.normpath(name)
        *folders, last = parts = name.split("/")
        if any(is_hidden(part) for part in parts):  # ".." too
            return
        self._numbers[name] = len(self._starts)
        for values, value in ((self._starts, start), (self._sizes, size),
                              (self._methods, method), (self._checksums, checksum)):
            values.append(value)
        self._folders["/".join(folders)][1].append(last)
        for depth, folder in enumerate(folders):
            self._folders["/".join(folders[:depth])][0].add(folder)

    def root(self, folder: str) -> str:
        inside = ""
        while True:
            folders, files = self._folders[inside]
            if len(folders) != 1 or files:
                break
            (only,) = folders
            deeper = f"{inside}/{only}" if inside else only
            if only.lower() in SPLITS or not self._folders[deeper][0]:
                break
            inside = deeper
        return f"{self._path}/{inside}" if inside else self._path

    def _inside(self, path):
        return path[len(self._path) + 1:]

    def scan(self, folder: str) -> tuple[list[str], list[str]]:
        folders, files = self._folders[self._inside(folder)]
        return sorted(folders), sorted(set(files))

    def real(self, folder: str) -> str:
        return folder

    def check(self, folder: str, files: list[str]) -> None:
        """Accept all: links are not followed."""

    def size(self, path: str) -> int:
        return self._sizes[self._numbers[self._inside(path)]]

    def read(self, path: str) -> bytes:
        number = self._numbers[self._inside(path)]
        start, checksum = self._starts[number], self._checksums[number]
        try:
            with open(self._path, "rb", buffering=0) as file:
                if checksum >= 0:
                    file.seek(start + _LENGTHS)
                    start += _LOCAL_HEADER + sum(struct.unpack("<HH", file.read(4)))
                file.seek(start)
                data = file.read(self._sizes[number])
            if self._methods[number] == _DEFLATED:
                data = zlib.decompress(data, -zlib.MAX_WBITS)
        except (OSError, struct.error, zlib.error):
            return b""
        return data if checksum < 0 or zlib.crc32(data) == checksum else b""
