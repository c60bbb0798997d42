"""OpenStack Cinder's real backup driver, as a process that answers one question a line.

    CINDERBLOCK_CINDER_REFERENCE=…/cinder_reference.py python driver.py STATE

Standard input has one JSON list of arguments a line, standard output one JSON object a line: what it answers, or
{"error": class, "message": text}. It ends at the end of its input. STATE is a folder for Cinder's database.

The arguments are those of cinder_reference.py (--option …, then backup, restore, import, delete, show), for which each
question makes a new driver object, with the options of this question alone. Starting a process for each would take
2 seconds. Besides:

    forget                                    delete all rows of backups, so that their ids can be used again
    unpack FOLDER PREFIX INTO                 decompress the data objects of a backup, each into a file of its name
    dump ENDPOINT BUCKET FOLDER               copy a bucket's objects into FOLDER/BUCKET/<object name>
    upload ENDPOINT BUCKET FOLDER             the other way around; objects that are not in the folder are deleted
"""
import os
import warnings

# As cinder_reference.py does, but before anything else: boto3, imported first, would keep what is patched.
warnings.filterwarnings("ignore")
os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")
import eventlet  # noqa: E402
eventlet.monkey_patch()

import bz2  # noqa: E402
import json  # noqa: E402
import runpy  # noqa: E402
import sqlite3  # noqa: E402
import sys  # noqa: E402
import zlib  # noqa: E402

# What Cinder prints is not an answer.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
state = os.path.abspath(sys.argv[1])
reference = runpy.run_path(os.environ["CINDERBLOCK_CINDER_REFERENCE"], run_name="cinder_reference")


def ask_reference(arguments):
    from oslo_config import cfg
    while changed:
        cfg.CONF.clear_override(changed.pop())
    for flag, value in zip(arguments, arguments[1:]):
        if flag == "--option":
            changed.add(value.partition("=")[0])
    sys.argv = ["cinder_reference.py", "--state", state, *arguments]
    return reference["main"]()


# Options that the last question changed.
changed = set()


def forget():
    path = os.path.join(state, "cinder.sqlite")
    if not os.path.exists(path):
        return {}
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM backup_metadata")
        database.execute("DELETE FROM backups")
    database.close()
    return {}


def decompress(compression, stored):
    if compression in ("zlib", "gzip"):
        stream = zlib.decompressobj()
        data = stream.decompress(stored)
    elif compression in ("bz2", "bzip2"):
        stream = bz2.BZ2Decompressor()
        data = stream.decompress(stored)
    elif compression == "zstd":
        # The module that Cinder uses. It refuses a frame without a content size, and bytes after the frame.
        import zstd
        return zstd.decompress(stored)
    else:
        return stored
    if not stream.eof or stream.unused_data:
        raise ValueError("more or less than one %s stream" % compression)
    return data


def unpack(folder, prefix, into):
    with open(os.path.join(folder, prefix + "_metadata"), "rb") as f:
        objects = json.load(f)["objects"]
    os.makedirs(into, exist_ok=True)
    for entry in objects:
        (name, fields), = entry.items()
        with open(os.path.join(folder, name), "rb") as f:
            data = decompress(fields["compression"], f.read())
        with open(os.path.join(into, os.path.basename(name)), "wb") as f:
            f.write(data)
    return {"objects": len(objects)}


def bucket_of(endpoint, name):
    import boto3
    store = boto3.resource("s3", endpoint_url=endpoint, region_name="us-east-1",
                           aws_access_key_id="access", aws_secret_access_key="secret")
    return store.Bucket(name)


def dump(endpoint, bucket, folder):
    count = 0
    for found in bucket_of(endpoint, bucket).objects.all():
        path = os.path.join(folder, bucket, found.key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(found.get()["Body"].read())
        count += 1
    return {"objects": count}


def upload(endpoint, bucket, folder):
    into = bucket_of(endpoint, bucket)
    root = os.path.join(folder, bucket)
    names = [os.path.relpath(os.path.join(parent, file), root)
             for parent, _, files in os.walk(root) for file in files]
    into.create()
    for found in into.objects.all():
        if found.key not in names:
            found.delete()
    for name in names:
        into.upload_file(os.path.join(root, name), name)
    return {"objects": len(names)}


def answer(arguments):
    own = {"forget": forget, "unpack": unpack, "dump": dump, "upload": upload}.get(arguments[0])
    return own(*arguments[1:]) if own else ask_reference(arguments)


for line in sys.stdin:
    try:
        told = answer(json.loads(line))
    except (Exception, SystemExit) as error:
        told = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(told), file=answers, flush=True)
