// Health: single checks, and readiness that does not flap.

import REST
import Testing

@testable import Agent

extension OnTheHost {
    @Suite struct HealthTests {
        @Test("each check has a path; one that does not exist there is not found")
        func single() async throws {
            try await TestAgent.run { agent async throws in
                for path in ["/livez/worker", "/livez/control", "/readyz/worker", "/readyz/state"] {
                    let name = path.split(separator: "/")[1]
                    let answer = await agent.get(path)
                    #expect(answer.status == 200 && answer.text == "[+]\(name) ok\n", "\(path)")
                }
                for path in ["/livez/state", "/livez/serving", "/readyz/none", "/readyz/Worker"] {
                    let answer = await agent.get(path)
                    #expect(answer.status == 404 && answer.code == "not_found", "\(path)")
                    #expect(answer.detail.contains("wanted worker, control"), "\(path)")
                }
                agent.api.health.stopping()
                let stopping = await agent.get("/readyz/serving")
                #expect(stopping.status == 503 && stopping.detail == "serving: the agent is stopping")
                #expect(await agent.get("/readyz/worker").status == 200)
            }
        }

        @Test("readiness counts its own looks, not requests, and liveness does not wait for them")
        func damped() async throws {
            try await TestAgent.run { agent async throws in
                let health = agent.api.health
                for _ in 1..<Damped.badLooks {
                    health.look([.worker: "it hangs"])
                    for _ in 0..<100 { #expect(await agent.get("/readyz").status == 200) }
                }
                health.look([.worker: "it hangs"])
                for path in ["/readyz", "/healthz", "/readyz/worker"] {
                    let answer = await agent.get(path)
                    #expect(answer.status == 503 && answer.detail == "worker: it hangs", "\(path)")
                }
                #expect(await agent.get("/readyz/control").status == 200)
                #expect(await agent.get("/livez/worker").status == 200, "it is asked itself, and runs")
                health.look()
                #expect(await agent.get("/readyz").status == 200)
            }
        }

        @Test("a control plane that waits for the kernel is alive, and says what it waits for")
        func waiting() {
            let heartbeat = Heartbeat()
            #expect(heartbeat.awaits == nil)
            let what = heartbeat.wait(for: "a disk") { heartbeat.awaits }
            #expect(what == "a disk" && heartbeat.awaits == nil && heartbeat.ageMilliseconds < 20_000)
        }

        @Test("a write whose caller was told that nothing was done is not done when its turn comes")
        func late() async throws {
            try await TestAgent.run { agent async throws in
                let late = Task {
                    withUnsafeCurrentTask { $0?.cancel() }
                    return await agent.put("/v1/bridges/late")
                }
                let answer = await late.value
                #expect(answer.status == 503 && answer.code == "unavailable")
                #expect(await agent.get("/v1/bridges/late").status == 404)
                #expect(await agent.put("/v1/bridges/late").status == 201)
            }
        }
    }
}
