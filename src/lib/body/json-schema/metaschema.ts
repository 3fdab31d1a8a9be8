import { Ajv2020 } from 'ajv/dist/2020.js'
import type { SchemaBundle } from './references.ts'

// How many faults of a document are worth reading at once.
const MOST = 5

let checker: Ajv2020 | undefined

/** Returns what the metaschema of JSON Schema 2020-12 finds wrong with the documents of a bundle; each text goes on from "the schema". */
export function metaschemaFaults({ documents }: SchemaBundle): string[] {
  // Takes about 30 ms, and only where a config has a schema.
  checker ??= new Ajv2020({ allErrors: true, strict: false, logger: false })
  const validate = checker.getSchema('https://json-schema.org/draft/2020-12/schema')
  if (validate === undefined) throw new Error('ajv has no metaschema')
  return [...documents.values()].flatMap((document) => {
    if (validate(document) === true) return []
    const messages = new Map<string, string>()
    for (const { instancePath, message } of validate.errors ?? [])
      if (!messages.has(instancePath))
        messages.set(instancePath, `is not valid at #${instancePath}: it ${message}`)
    return [...messages.values()].slice(0, MOST)
  })
}
