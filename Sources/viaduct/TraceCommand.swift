// `viaduct trace`: where would my packet go? Of one host as ofproto/trace prints it, or with --controller through the
// hosts of a network.

import API
import ArgumentParser
import JSON

struct TraceCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "trace",
        abstract: "Follow one frame through the datapath without sending it.",
        discussion: """
            The frame is described by FIELD=VALUE, with commas or blanks between: in_port (required), the fields \
            of a frame (eth_src, eth_dst, eth_type, vlan_vid, ip_src, ip_dst, ip_proto, ip_ttl, tp_src, tp_dst, \
            tcp_flags, icmp_type, arp_op, arp_tpa, payload_length and others), or frame, all of it in \
            hexadecimal. tcp, udp, icmp, icmp6, arp, ip and ip6 stand for their protocol. From a tunnel also \
            tun_id, tun_src, tun_dst and tun_ecn. With --controller: from and to, attachments of a network, \
            follow an echo request unless fields say otherwise.

            Examples:
              viaduct trace br0 in_port=web1,eth_dst=02:00:00:00:00:02,icmp,ip_dst=198.51.100.2
              viaduct trace br0 in_port=vxlan1,tun_id=7,eth_dst=ff:ff:ff:ff:ff:ff,arp,arp_tpa=198.51.100.1
              viaduct trace --controller= blue from=web1,to=db1
            """)

    @Argument(help: ArgumentHelp("The bridge; with --controller the network.", valueName: "bridge"))
    var place: String
    @Argument(help: ArgumentHelp("The frame.", valueName: "field=value")) var fields: [String] = []
    @Flag(help: "Send the frame for real, and say what it was counted for.") var inject = false
    @OptionGroup var options: EitherOptions

    func run(_ session: Session) async throws(CommandError) {
        let isFleet = options.role == .controller
        guard !(inject && isFleet) else { throw .usage("--inject: wanted an agent, found --controller") }
        let body =
            isFleet
            ? try TraceWords(fields, FleetTraceRequest.self).body("network", place)
            : try TraceWords(fields, TraceRequest.self).body("bridge", place)
        let answer = try await session.client.trace(body, inject: inject)
        if session.json { return session.print(json: answer) }
        do throws(Problem) {
            let text =
                isFleet
                ? try FleetTraceDocument.schema.decode(answer).description
                : try TraceDocument.schema.decode(answer).description
            session.print(text)
        } catch {
            throw .strange("\(TraceRequest.path): \(error.detail)")
        }
    }
}

/// A frame as it was typed.
struct TraceWords {
    private static let protocols: [String: (name: String, value: JSONValue)] = [
        "tcp": ("ip_proto", "tcp"), "udp": ("ip_proto", "udp"), "icmp": ("ip_proto", "icmp"),
        "icmp6": ("ip_proto", "icmpv6"), "sctp": ("ip_proto", "sctp"), "arp": ("eth_type", "0x0806"),
        "ip": ("eth_type", "0x0800"), "ip6": ("eth_type", "0x86dd"), "ipv6": ("eth_type", "0x86dd"),
    ]

    private var request = JSONObject()
    private var fields = JSONObject()

    /// Every mistake is found before this throws.
    init<Request: Record>(_ arguments: [String], _ type: Request.Type) throws(CommandError) {
        let own = Request.schema.jsonSchema["properties"]
        let frame = TraceFields.schema.jsonSchema["properties"]
        var mistakes: [String] = []
        for word in arguments.flatMap({ $0.split(separator: ",").map(String.init) }) {
            if let known = TraceWords.protocols[word] {
                fields[known.name] = known.value
            } else if let (name, text) = Assignments.split(word) {
                if let property = frame?[name] {
                    fields[name] = Assignments.value(text, property)
                } else if name != "fields", let property = own?[name] {
                    request[name] = Assignments.value(text, property)
                } else {
                    mistakes.append("\(name): wanted a field of a frame or of the request")
                }
            } else {
                mistakes.append("wanted FIELD=VALUE, found \"\(word)\"")
            }
        }
        guard mistakes.isEmpty else { throw .usage(mistakes) }
    }

    func body(_ name: String, _ place: String) -> JSONObject {
        var body = request
        body[name] = .string(place)
        if !fields.members.isEmpty { body["fields"] = .object(fields) }
        return body
    }
}
