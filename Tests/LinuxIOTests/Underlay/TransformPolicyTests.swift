// Owns: IPsec policies of a real namespace, there or not.

import Testing

@testable import LinuxIO

@Suite("IPsec policies")
struct TransformPolicyTests {
    @Test("IPsec policies are found, of either direction")
    func policies() throws {
        let namespace = TestNamespace()
        #expect(try !namespace.here { () throws(LinuxError) in try TransformPolicies.exist() })
        namespace.inside(
            """
            ip xfrm policy add src 10.0.0.0/24 dst 10.0.1.0/24 dir in \
            tmpl src 192.0.2.1 dst 192.0.2.2 proto esp mode tunnel
            """)
        #expect(try namespace.here { () throws(LinuxError) in try TransformPolicies.exist() })
    }
}
