# A stock gRPC client that knows the mesh from xDS alone: ruby-grpc and nothing of docmesh.
#
# Takes one order per line on stdin, {"target", "calls", "headers"}, makes that many calls of GetDiagnostics one after the
# other, and answers with a line of counts by who answered: {"counts": {"1.0.0 echo-1": 9, "UNAVAILABLE ...": 1}, "ms"}.
#
# usage: GRPC_XDS_BOOTSTRAP=... xds_client.rb GENERATED_FOLDER
require 'json'
$LOAD_PATH.unshift ARGV.fetch(0)
require 'docmesh/ops/v1/diagnostics_services_pb'

Ops = Docmesh::Ops::V1
CODES = GRPC::Core::StatusCodes.constants.to_h { |name| [GRPC::Core::StatusCodes.const_get(name), name] }
STUBS = Hash.new do |stubs, target|
  stubs[target] = Ops::DiagnosticsService::Stub.new(target, :this_channel_is_insecure, timeout: 5)
end

def ask(stub, metadata)
  process = stub.get_diagnostics(Ops::GetDiagnosticsRequest.new, metadata: metadata).process
  "#{process.version} #{process.instance_id}"
rescue GRPC::BadStatus => e
  "#{CODES[e.code]} #{e.details}"
end

def now
  Process.clock_gettime(Process::CLOCK_MONOTONIC)
end

def carry_out(order)
  begun = now
  answers = Array.new(order['calls']) { ask(STUBS[order['target']], order.fetch('headers', {})) }
  { counts: answers.tally, ms: ((now - begun) * 1000).round }
end

$stdin.each_line do |line|
  puts carry_out(JSON.parse(line)).to_json
  $stdout.flush
end
