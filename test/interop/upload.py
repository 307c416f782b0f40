"""Uploads a PDF and prints the findings, with a client generated from the protos: python3-grpcio and nothing of docmesh.

usage: upload.py GENERATED_FOLDER DOCUMENT_ADDRESS ANALYSIS_ADDRESS FILE
"""

import os
import sys

generated, document_address, analysis_address, path = sys.argv[1:]
sys.path.insert(0, generated)

import grpc
from docmesh.analysis.v1 import analysis_pb2, analysis_pb2_grpc
from docmesh.document.v1 import document_pb2, document_pb2_grpc


def parts(name, stream):
    yield document_pb2.UploadDocumentRequest(metadata=document_pb2.UploadMetadata(name=name))
    while chunk := stream.read(64 * 1024):
        yield document_pb2.UploadDocumentRequest(chunk=chunk)


def upload(stub, path):
    with open(path, "rb") as stream:
        return stub.UploadDocument(parts(os.path.basename(path), stream), timeout=30).document


def analyze(stub, document):
    request = analysis_pb2.StartAnalysisRequest(
        document_id=document.id, options=analysis_pb2.AnalysisOptions(locale="en")
    )
    analysis = stub.StartAnalysis(request, timeout=5).analysis
    for update in stub.WatchAnalysis(analysis_pb2.WatchAnalysisRequest(analysis_id=analysis.id), timeout=60):
        analysis = update.analysis
        print(f"{analysis.progress_percent:.0f} %", file=sys.stderr)
    return analysis


documents = document_pb2_grpc.DocumentServiceStub(grpc.insecure_channel(document_address))
analyses = analysis_pb2_grpc.AnalysisServiceStub(grpc.insecure_channel(analysis_address))

analysis = analyze(analyses, upload(documents, path))
if analysis.state != analysis_pb2.ANALYSIS_STATE_COMPLETED:
    sys.exit(analysis.failure.message)
print(f"score {analysis.result.score}")
for finding in analyses.ListFindings(analysis_pb2.ListFindingsRequest(analysis_id=analysis.id), timeout=5).findings:
    pages = ", ".join(f"page {evidence.page}: {evidence.quote!r}" for evidence in finding.evidence[:3])
    print(f"{finding.rule_id} {analysis_pb2.Severity.Name(finding.severity)} {finding.message} {pages}".rstrip())

try:
    analyses.GetAnalysis(analysis_pb2.GetAnalysisRequest(analysis_id="nobody"), timeout=5)
    sys.exit("an unknown id was found")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.NOT_FOUND, error.code()
    assert any(key == "grpc-status-details-bin" for key, _ in error.trailing_metadata())
