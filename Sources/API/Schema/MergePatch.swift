// The schema of a merge patch of a resource, for the OpenAPI document: the resource's fields, none required, and
// null for every one, which sets it back to its default. What a patch makes of a resource is then decoded as
// strictly as a PUT.

import JSON

/// Never a value: only its schema is used.
struct MergePatch<R: Resource>: Record {
    static var schemaName: String { "\(R.schemaName)Patch" }
    static var schema: Schema<Self> { Schema(summary: "Some fields of a \(R.kind.singular) (RFC 7396).") {} }

    static var jsonSchema: JSONObject {
        var schema = R.schema.jsonSchema
        var properties = JSONObject()
        for field in R.schema.fields {
            var property: JSONObject = ["anyOf": [.object(field.valueSchema), ["type": "null"]]]
            property["description"] = .string(field.doc)
            properties[field.name] = .object(property)
        }
        schema["properties"] = .object(properties)
        schema["required"] = nil
        schema["description"] = .string("Some fields of a \(R.kind.singular); null sets one to its default.")
        return schema
    }
}

extension SchemaReference {
    /// The schema of a resource's merge patch.
    init<R: Resource>(_ patch: MergePatch<R>.Type) {
        self.init(
            name: MergePatch<R>.schemaName, jsonSchema: { MergePatch<R>.jsonSchema },
            references: { R.schema.references }, example: { .object(R.schema.example) })
    }
}
