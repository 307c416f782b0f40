# Uploads a PDF and prints the findings, with a client generated from the protos: ruby-grpc and nothing of docmesh.
#
# usage: upload.rb GENERATED_FOLDER DOCUMENT_ADDRESS ANALYSIS_ADDRESS FILE
generated, document_address, analysis_address, path = ARGV
$LOAD_PATH.unshift generated
require 'docmesh/analysis/v1/analysis_services_pb'
require 'docmesh/document/v1/document_services_pb'
require 'google/protobuf/well_known_types'
require 'google/rpc/error_details_pb'
require 'grpc/health/v1/health_services_pb'

Documents = Docmesh::Document::V1
Analyses = Docmesh::Analysis::V1
Health = Grpc::Health::V1

def stub(service, address)
  service::Stub.new(address, :this_channel_is_insecure, timeout: 60)
end

def parts(path)
  return enum_for(:parts, path) unless block_given?

  metadata = Documents::UploadMetadata.new(name: File.basename(path))
  yield Documents::UploadDocumentRequest.new(metadata: metadata)
  File.open(path, 'rb') do |file|
    while (chunk = file.read(64 * 1024))
      yield Documents::UploadDocumentRequest.new(chunk: chunk)
    end
  end
end

def analyze(analyses, document)
  options = Analyses::AnalysisOptions.new(locale: 'en')
  request = Analyses::StartAnalysisRequest.new(document_id: document.id, options: options)
  analysis = analyses.start_analysis(request).analysis
  analyses.watch_analysis(Analyses::WatchAnalysisRequest.new(analysis_id: analysis.id)) do |update|
    analysis = update.analysis
    warn "#{analysis.progress_percent.round} %"
  end
  analysis
end

def say(finding)
  pages = finding.evidence.first(3).map { |evidence| "page #{evidence.page}: #{evidence.quote.inspect}" }
  puts [finding.rule_id, finding.severity, finding.message, pages.join(', ')].join(' ').rstrip
end

health = stub(Health::Health, document_address).check(Health::HealthCheckRequest.new)
abort "document is #{health.status}" unless health.status == :SERVING

document = stub(Documents::DocumentService, document_address).upload_document(parts(path)).document
analyses = stub(Analyses::AnalysisService, analysis_address)
analysis = analyze(analyses, document)
abort analysis.failure.message unless analysis.state == :ANALYSIS_STATE_COMPLETED

puts "score #{analysis.result.score}"
analyses.list_findings(Analyses::ListFindingsRequest.new(analysis_id: analysis.id)).findings.each { |finding| say(finding) }

begin
  analyses.get_analysis(Analyses::GetAnalysisRequest.new(analysis_id: 'nobody'))
  abort 'an unknown id was found'
rescue GRPC::NotFound => e
  reason = e.to_rpc_status.details.first.unpack(Google::Rpc::ErrorInfo).reason
  abort "the reason is #{reason}" unless reason == 'ANALYSIS_NOT_FOUND'
end
