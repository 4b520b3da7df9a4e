"""crt.py up|down URL KEY BYTES FILE [--crc VALUE] [--ca FILE]

Moves one object with the AWS Common Runtime's S3 client, as its own tools do: FILE is read or written by its C code.
The first line printed tells what the interpreter had taken before the client was made, which is not the client's.
"""

import argparse
import os
import resource
import time
from urllib.parse import urlsplit

began = time.monotonic()

from awscrt import auth, http, io, s3  # noqa: E402  (the clock starts first)

PART = 16 << 20
IN_FLIGHT = 8


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("direction", choices=["up", "down"])
    parser.add_argument("url")
    parser.add_argument("key")
    parser.add_argument("bytes", type=int)
    parser.add_argument("file")
    parser.add_argument("--crc", help="CRC64NVME: expected value of a download, anything for an upload")
    parser.add_argument("--ca")
    return parser.parse_args()


def client(args):
    group = io.EventLoopGroup()
    bootstrap = io.ClientBootstrap(group, io.DefaultHostResolver(group))
    provider = auth.AwsCredentialsProvider.new_static(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    options = {"tls_mode": s3.S3RequestTlsMode.DISABLED}
    if args.ca:
        context = io.TlsContextOptions()
        context.override_default_trust_store_from_path(None, args.ca)
        connection = io.ClientTlsContext(context).new_connection_options()
        connection.set_server_name("localhost")
        options = {"tls_mode": s3.S3RequestTlsMode.ENABLED, "tls_connection_options": connection}
    return s3.S3Client(
        bootstrap=bootstrap,
        region="us-east-1",
        signing_config=s3.create_default_s3_signing_config(region="us-east-1", credential_provider=provider),
        part_size=PART,
        max_active_connections_override=IN_FLIGHT,
        **options,
    )


def checksum(args):
    if not args.crc:
        return None
    algorithm = s3.S3ChecksumAlgorithm.CRC64NVME
    if args.direction == "up":
        return s3.S3ChecksumConfig(algorithm=algorithm, location=s3.S3ChecksumLocation.TRAILER)
    return s3.S3ChecksumConfig(expected_checksum=args.crc, expected_checksum_algorithm=algorithm)


def main():
    args = arguments()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(f'{{"before_cpu_s":{usage.ru_utime + usage.ru_stime},"before_wall_s":{time.monotonic() - began}}}', flush=True)
    headers = http.HttpHeaders([("Host", urlsplit(args.url).netloc)])
    if args.direction == "up":
        headers.add("Content-Length", str(args.bytes))
        request = http.HttpRequest("PUT", "/bench/" + args.key, headers)
        kind, file = s3.S3RequestType.PUT_OBJECT, {"send_filepath": args.file}
    else:
        request = http.HttpRequest("GET", "/bench/" + args.key, headers)
        kind, file = s3.S3RequestType.GET_OBJECT, {"recv_filepath": args.file}
    moved = client(args).make_request(type=kind, request=request, checksum_config=checksum(args), **file)
    moved.finished_future.result()


main()
