// swift-tools-version: 6.2
// Viaduct: a REST-controlled VXLAN overlay agent with its own userspace datapath.
// The import arrows between rooms are the target dependencies below; ARCHITECTURE.md explains them.
import PackageDescription

/// Every room compiles in the Swift 6 language mode with warnings as errors, and says `public import`
/// where it re-exports another room's types.
let strict: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("ExistentialAny"),
]

/// A room and its test target.
func room(
    _ name: String, _ dependencies: [Target.Dependency], tests: [Target.Dependency] = [],
    exclude: [String] = []
) -> [Target] {
    [
        .target(name: name, dependencies: dependencies, swiftSettings: strict),
        .testTarget(
            name: "\(name)Tests", dependencies: [.byName(name: name)] + dependencies + tests,
            exclude: exclude,
            swiftSettings: strict),
    ]
}

let package = Package(
    name: "viaduct",
    targets: [
        .systemLibrary(
            name: "CMicroHTTPD", pkgConfig: "libmicrohttpd", providers: [.apt(["libmicrohttpd-dev"])]),
        .systemLibrary(name: "CJansson", pkgConfig: "jansson", providers: [.apt(["libjansson-dev"])]),
        .target(name: "CLinux"),
    ]
        + room("Wire", [], exclude: ["vectors.py"])
        + room("JSON", ["CJansson"])
        + room("API", ["Wire", "JSON"])
        + room("HTTP", ["CMicroHTTPD", "JSON"])
        + room("Datapath", ["Wire"])
        + room("LinuxIO", ["CLinux", "Wire", "Datapath"]),
    swiftLanguageModes: [.v6]
)
