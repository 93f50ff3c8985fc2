// What is heard of neighbours, and which of it is believed: RFC 826, RFC 4861 §7.2.3 and §7.2.5. Neither protocol has
// authentication: whoever is on the link can claim an address. So nothing heard makes an entry, claims to what is
// ours are refused, and entries the operator has set stand.

internal import Wire

extension NeighborTable {
    /// What kind of word it is.
    private enum Word {
        /// To us, because we asked.
        case answer(isOverride: Bool)
        /// It asks for one of our addresses.
        case question
        /// To everybody, unasked.
        case announcement(isOverride: Bool)
    }

    /// Takes in what was heard on interface `index`.
    public func hear(_ frame: NeighborFrame, on index: Int32, now: UInt64) {
        switch frame {
        case .arp(let packet, let destination):
            let isAnswer = packet.operation == .reply && devices[index]?.mac == destination
            let isQuestion = packet.operation == .request && ownAddresses.contains(.v4(packet.targetIP))
            // Of several who answer one question the first is believed.
            let key = NeighborKey(index: index, address: .v4(packet.senderIP))
            let isOverride = entries[key].map { now >= $0.changedAt + timing.lock } ?? true
            take(
                key, packet.senderMAC,
                isAnswer
                    ? .answer(isOverride: isOverride)
                    : isQuestion ? .question : .announcement(isOverride: true),
                now)
        case .advertisement(let message):
            take(
                NeighborKey(index: index, address: .v6(message.target)), message.linkLayerAddress,
                message.isSolicited
                    ? .answer(isOverride: message.isOverride) : .announcement(isOverride: message.isOverride),
                now)
        case .solicitation(let message, let source):
            let isQuestion = ownAddresses.contains(.v6(message.target))
            take(
                NeighborKey(index: index, address: .v6(source)), message.linkLayerAddress,
                isQuestion ? .question : .announcement(isOverride: true), now)
        case .malformed:
            counters.heard += 1
            counters.malformed += 1
        case .icmpError, .other: break
        }
    }

    private func take(_ key: NeighborKey, _ mac: MACAddress?, _ word: Word, _ now: UInt64) {
        counters.heard += 1
        guard !ownAddresses.contains(key.address) else {
            counters.ownAddress += 1
            return
        }
        if let mac {
            guard !mac.isGroup, !mac.isZero else {
                counters.badMAC += 1
                return
            }
            guard !ownMACs.contains(mac) else {
                counters.ownMAC += 1
                return
            }
        }
        guard let entry = entries[key], devices[key.index]?.isUp == true else {
            counters.unknown += 1
            return
        }
        guard entry.state != .permanent else {
            counters.permanent += 1
            return
        }
        // Without an address it is about the one that is known.
        guard let mac = mac ?? entry.mac else {
            counters.refused += 1
            return
        }
        believe(entry, mac, word, now)
    }

    private func believe(_ entry: Entry, _ mac: MACAddress, _ word: Word, _ now: UInt64) {
        let isSame = entry.mac == mac
        let mayReplace: Bool
        switch word {
        case .answer(let isOverride), .announcement(let isOverride): mayReplace = isOverride
        case .question: mayReplace = true
        }
        guard isSame || entry.mac == nil || mayReplace else {
            counters.refused += 1
            // One of the two is wrong: the known one is asked when it is used.
            if entry.state == .reachable { age(entry, now) }
            return
        }
        switch word {
        case .answer: learn(entry, mac, isConfirmed: true, now)
        case .question: learn(entry, mac, isConfirmed: isSame, now)
        case .announcement: if !isSame { learn(entry, mac, isConfirmed: false, now) }
        }
    }
}
