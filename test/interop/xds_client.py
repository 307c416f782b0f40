"""A stock gRPC client that knows the mesh from xDS alone: python3-grpcio and nothing of docmesh.

Takes one order per line on stdin, {"target", "calls", "headers"}, makes that many calls of GetDiagnostics one after the
other, and answers with a line of counts by who answered: {"counts": {"1.0.0 echo-1": 9, "UNAVAILABLE ...": 1}, "ms"}.

usage: GRPC_XDS_BOOTSTRAP=... xds_client.py GENERATED_FOLDER
"""

import json
import sys
import time

sys.path.insert(0, sys.argv[1])

import grpc
from docmesh.ops.v1 import diagnostics_pb2, diagnostics_pb2_grpc

stubs = {}


def ask(stub, metadata):
    try:
        process = stub.GetDiagnostics(
            diagnostics_pb2.GetDiagnosticsRequest(), metadata=metadata, timeout=5
        ).process
        return f"{process.version} {process.instance_id}"
    except grpc.RpcError as error:
        return f"{error.code().name} {error.details()}"


def carry_out(order):
    target = order["target"]
    if target not in stubs:
        stubs[target] = diagnostics_pb2_grpc.DiagnosticsServiceStub(grpc.insecure_channel(target))
    counts = {}
    begun = time.monotonic()
    for _ in range(order["calls"]):
        answer = ask(stubs[target], list(order.get("headers", {}).items()))
        counts[answer] = counts.get(answer, 0) + 1
    return {"counts": counts, "ms": round((time.monotonic() - begun) * 1000)}


for line in sys.stdin:
    print(json.dumps(carry_out(json.loads(line))), flush=True)
