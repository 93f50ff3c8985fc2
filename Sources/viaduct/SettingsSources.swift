// Where the settings of a service come from: flags, then environment, then the configuration file, then defaults.

import API
import Foundation
import JSON

/// The sources of one service's settings.
struct SettingsSources {
    /// Of environment variables: "VIADUCT_", behind which the field stands in capitals.
    var prefix: String
    var environment: [String: String]
    /// Path of the configuration file; nil asks the environment for it.
    var config: String?
    /// By field; nil for those that were not given.
    var flags: [String: JSONValue?]

    /// One JSON object from all sources, decoded once by the schema: the same errors wherever a value comes
    /// from.
    func resolve<R: Record>(_ settings: R.Type) throws(Problem) -> R {
        var merged = JSONObject()
        if let path = config ?? environment["\(prefix)CONFIG"] {
            guard let data = FileManager.default.contents(atPath: path) else {
                throw Problem(.invalidResource, "cannot read the configuration file \(path)")
            }
            // Decoded alone first, so that its errors are about the file.
            do throws(Problem) {
                merged = try R.parse([UInt8](data)).json
            } catch {
                throw Problem(.invalidResource, "\(path): \(error.detail)", errors: error.errors)
            }
        }
        for field in R.schema.fields {
            if let text = environment["\(prefix)\(field.name.uppercased())"] {
                merged[field.name] = field.value(of: text)
            }
            if let value = flags[field.name] ?? nil { merged[field.name] = value }
        }
        return try R.schema.decode(.object(merged))
    }
}
