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

/// Tests/Fuzz: with VIADUCT_FUZZ set a program for libFuzzer (`make fuzz`), else tests of the same bodies. No other
/// build has libFuzzer to link with.
let fuzzing: Target = {
    let rooms: [Target.Dependency] = ["API", "CLinux", "Datapath", "HTTP", "JSON", "LinuxIO", "Wire"]
    guard Context.environment["VIADUCT_FUZZ"] == nil else {
        return .executableTarget(
            name: "viaduct-fuzz", dependencies: rooms, path: "Tests/Fuzz",
            exclude: ["Corpus", "Dictionaries", "Regressions", "Replay", "fuzz.py"], swiftSettings: strict)
    }
    return .testTarget(
        name: "FuzzTests", dependencies: rooms, path: "Tests/Fuzz",
        exclude: ["Corpus", "Dictionaries", "Main.swift", "Regressions", "fuzz.py"], swiftSettings: strict)
}()

let package = Package(
    name: "viaduct",
    products: [.executable(name: "viaduct", targets: ["viaduct"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        fuzzing,
        .systemLibrary(
            name: "CMicroHTTPD", pkgConfig: "libmicrohttpd", providers: [.apt(["libmicrohttpd-dev"])]),
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-gnutls-dev"])]),
        .systemLibrary(name: "CGnuTLS", pkgConfig: "gnutls", providers: [.apt(["libgnutls28-dev"])]),
        .systemLibrary(name: "CJansson", pkgConfig: "jansson", providers: [.apt(["libjansson-dev"])]),
        .systemLibrary(name: "CPcap", pkgConfig: "libpcap", providers: [.apt(["libpcap-dev"])]),
        .systemLibrary(name: "CSeccomp", pkgConfig: "libseccomp", providers: [.apt(["libseccomp-dev"])]),
        .target(name: "CLinux"),
        .target(name: "CChecksum"),
        .executableTarget(
            name: "viaduct",
            dependencies: [
                "Agent", "API", "Controller", "Doctor", "HTTP", "JSON", "Proc", "REST", "Trust", "Wire",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "Yams", package: "Yams"),
            ],
            swiftSettings: strict),
        // No part of the product: the datapath's operations, for `make bench` to count.
        .executableTarget(
            name: "viaduct-micro", dependencies: ["Datapath", "LinuxIO", "Wire"], path: "Tests/Bench/Micro",
            swiftSettings: strict),
        // Nor this: agents without hosts, for `make bench-controller`.
        .executableTarget(
            name: "viaduct-fleet", dependencies: ["API", "HTTP", "JSON"], path: "Tests/Bench/Fleet",
            swiftSettings: strict),
        // Nor these: programs that tests start, and what makes a test's abort say where.
        .target(name: "TestSupport", path: "Tests/Support", swiftSettings: strict),
        .target(name: "CAbort", path: "Tests/CAbort"),
        .testTarget(
            name: "viaductTests",
            dependencies: ["viaduct", "API", "Agent", "CAbort", "HTTP", "JSON", "TestSupport"],
            swiftSettings: strict),
    ]
        + room("Wire", ["CChecksum"], exclude: ["vectors.py"])
        + room("Datapath", ["Wire"])
        + room("Proc", ["CLinux"])
        + room("LinuxIO", ["CLinux", "CPcap", "CSeccomp", "Wire", "Datapath", "Proc"])
        + room("Doctor", ["CLinux", "JSON", "LinuxIO", "Proc", "Wire"])
        + room("JSON", ["CJansson"])
        + room("API", ["CGnuTLS", "Wire", "JSON"], tests: ["TestSupport"])
        + room("Trust", ["CGnuTLS"])
        + room("HTTP", ["CCurl", "CMicroHTTPD", "JSON", "Trust"])
        + room(
            "REST",
            [
                "API", "HTTP", "JSON", "Proc", "Trust", "Wire",
                .product(name: "Logging", package: "swift-log"),
            ])
        + room(
            "Store", ["HTTP", "JSON", "Wire", .product(name: "GRDB", package: "GRDB.swift")],
            tests: ["TestSupport"])
        + room(
            "Agent",
            [
                "API", "Datapath", "HTTP", "JSON", "LinuxIO", "Proc", "REST", "Store", "Trust", "Wire",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ])
        + room(
            "Controller",
            [
                "API", "HTTP", "JSON", "Proc", "REST", "Store", "Trust", "Wire",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ], tests: ["TestSupport"]),
    swiftLanguageModes: [.v6]
)
