"""Virtual environments from wheels, in a tree that runs on the same Python as this. argv: the tree, the folder of wheels.

Each folder below it is one environment: its name, its wheels, and a file `system` when Debian's own modules count, too.
"""

import compileall
import os
import pathlib
import py_compile
import sys

from installer import install
from installer.destinations import SchemeDictionaryDestination
from installer.sources import WheelFile

root, wheels = sys.argv[1:]
version = f"{sys.version_info.major}.{sys.version_info.minor}"
python = f"/usr/bin/python{version}"
if not os.path.exists(root + python):
    sys.exit(f"the kit has another Python than {version}, for which these wheels were chosen")
os.umask(0o022)

for folder in sorted(pathlib.Path(wheels).iterdir()):
    prefix = f"/usr/lib/commesh/{folder.name}"
    site = f"{prefix}/lib/python{version}/site-packages"
    for path in (f"{prefix}/bin", site):
        os.makedirs(root + path)
    system = "true" if (folder / "system").exists() else "false"
    with open(f"{root}{prefix}/pyvenv.cfg", "w") as config:
        config.write(f"home = /usr/bin\ninclude-system-site-packages = {system}\nversion = {version}\n")
    os.symlink(python, f"{root}{prefix}/bin/python{version}")
    for name in ("python", "python3"):
        os.symlink(f"python{version}", f"{root}{prefix}/bin/{name}")
    scheme = {
        "purelib": site,
        "platlib": site,
        "scripts": f"{prefix}/bin",
        "headers": f"{prefix}/include",
        "data": prefix,
    }
    for file in sorted(folder.glob("*.whl")):
        destination = SchemeDictionaryDestination(
            scheme, interpreter=f"{prefix}/bin/python", script_kind="posix", destdir=root
        )
        with WheelFile.open(file) as source:
            install(source, destination, additional_metadata={"INSTALLER": b"commeshctl"})
    # Not looked at again when loaded: nobody changes files of a read-only prefix.
    good = compileall.compile_dir(
        root + site,
        quiet=2,
        stripdir=root,
        prependdir="/",
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    if not good:
        # Some packages carry files for other versions of Python; they load as little there as here.
        print(f"{folder.name}: not every file could be compiled", file=sys.stderr)
