# Takes OTLP logs as a collector does: parses them by OpenTelemetry's own definitions, and prints one line a record.
import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse


def plain(value):
    return getattr(value, value.WhichOneof("value"))


class Collector(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            if self.path != "/v1/logs" or self.headers["content-type"] != "application/json":
                raise ValueError(f"{self.path} {self.headers['content-type']}")
            # Unknown members are an error here: nothing is sent that the definitions do not have.
            request = json_format.Parse(body, ExportLogsServiceRequest())
        except (ValueError, json_format.ParseError) as error:
            print(json.dumps({"error": str(error)}), flush=True)
            self.send_response(400)
            self.send_header("content-length", "0")
            self.end_headers()
            return
        for of_resource in request.resource_logs:
            resource = {pair.key: plain(pair.value) for pair in of_resource.resource.attributes}
            for of_scope in of_resource.scope_logs:
                for record in of_scope.log_records:
                    line = {
                        "resource": resource,
                        "scope": of_scope.scope.name,
                        "time": record.time_unix_nano,
                        "severity": record.severity_text,
                        "event": record.event_name,
                        "body": record.body.string_value,
                        "attributes": {pair.key: plain(pair.value) for pair in record.attributes},
                        "token": self.headers["x-token"],
                    }
                    print(json.dumps(line), flush=True)
        answer = json_format.MessageToJson(ExportLogsServiceResponse()).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Collector)
print(json.dumps({"port": server.server_address[1]}), flush=True)
server.serve_forever()
