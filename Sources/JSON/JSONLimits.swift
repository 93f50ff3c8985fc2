/// The limits put on a JSON document before jansson may build anything from it.
///
/// They exist because the sender chooses the document: jansson alone accepts 2,048 levels and any size.
/// All are inclusive: a document exactly at the limit is accepted.
public struct JSONLimits: Equatable, Sendable {
    /// Whole document, in bytes. 1 MiB holds a controller's complete state for several thousand tunnels.
    public var byteCount: Int
    /// Nesting of arrays and objects; a scalar has depth 0, `[]` depth 1. Our resources need 6. Never
    /// more than `deepest`, whatever is asked for.
    public var depth: Int
    /// Values in the document: the root, every member's value and every element (keys are not counted).
    public var memberCount: Int
    /// One string or key, in bytes of decoded UTF-8. Our longest legal field is far below.
    public var stringByteCount: Int

    /// The copy out of jansson recurses once a level; 512 frames fit any thread's stack.
    static var deepest: Int { 512 }

    public init(
        byteCount: Int = 1 << 20, depth: Int = 16, memberCount: Int = 10_000, stringByteCount: Int = 65_536
    ) {
        self.byteCount = byteCount
        self.depth = min(depth, Self.deepest)
        self.memberCount = memberCount
        self.stringByteCount = stringByteCount
    }
}
