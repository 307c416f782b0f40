// A stock gRPC client that knows the mesh from xDS alone: Debian's libgrpc++ and nothing of docmesh.
//
// Takes one order per line on stdin, {"target", "calls"}, makes that many calls of GetDiagnostics one after the other, and
// answers with a line of counts by who answered: {"counts": {"1.0.0 echo-1": 9, "UNAVAILABLE ...": 1}, "ms"}.
//
// usage: GRPC_XDS_BOOTSTRAP=... xds_client
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <iostream>
#include <map>
#include <memory>
#include <string>

#include "docmesh/ops/v1/diagnostics.grpc.pb.h"

namespace ops = docmesh::ops::v1;
namespace json = google::protobuf::util;
using Clock = std::chrono::steady_clock;
using Json = google::protobuf::Struct;
using Stub = ops::DiagnosticsService::Stub;

constexpr const char* CODES[] = {
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
};

std::string Ask(Stub& stub) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
  ops::GetDiagnosticsResponse response;
  const grpc::Status status = stub.GetDiagnostics(&context, {}, &response);
  if (!status.ok()) return std::string(CODES[status.error_code()]) + " " + status.error_message();
  return response.process().version() + " " + response.process().instance_id();
}

Json CarryOut(const Json& order) {
  static std::map<std::string, std::unique_ptr<Stub>> stubs;
  const std::string& target = order.fields().at("target").string_value();
  auto& stub = stubs[target];
  if (!stub) stub = ops::DiagnosticsService::NewStub(grpc::CreateChannel(target, grpc::InsecureChannelCredentials()));
  std::map<std::string, int> counts;
  const auto begun = Clock::now();
  for (int left = order.fields().at("calls").number_value(); left > 0; left--) counts[Ask(*stub)]++;
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun).count();

  Json answer;
  auto& counted = *(*answer.mutable_fields())["counts"].mutable_struct_value()->mutable_fields();
  for (const auto& [who, times] : counts) counted[who].set_number_value(times);
  (*answer.mutable_fields())["ms"].set_number_value(ms);
  return answer;
}

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    Json order;
    std::string answer;
    if (!json::JsonStringToMessage(line, &order).ok()) return 1;
    if (!json::MessageToJsonString(CarryOut(order), &answer).ok()) return 1;
    std::cout << answer << std::endl;
  }
}
