import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { compileOperation } from '../../../plugins/validate/operation.ts'
import { OpenApiDocument } from '../../../src/lib/openapi/document.ts'
import { listOperations } from '../../../src/lib/openapi/operations.ts'

const examples = dirname(fileURLToPath(import.meta.resolve('@readme/oas-examples/package.json')))

t.test('the operations of public documents compile', async (t) => {
  const failed: string[] = []
  let count = 0
  for (const version of ['3.0', '3.1'])
    for (const name of readdirSync(join(examples, version, 'json'))) {
      if (!name.endsWith('.json')) continue
      const file = join(examples, version, 'json', name)
      const text = readFileSync(file, 'utf8')
      const documents = [new OpenApiDocument(file, JSON.parse(text))]
      // What 3.1 has, 3.2 has as well.
      if (version === '3.1')
        documents.push(new OpenApiDocument(file, { ...JSON.parse(text), openapi: '3.2.0' }))
      for (const document of documents)
        for (const operation of listOperations(document)) {
          count++
          try {
            compileOperation(document, operation)
          } catch (error) {
            failed.push(`${version} ${name} ${operation.method} ${operation.path}: ${String(error)}`)
          }
        }
    }
  t.ok(count > 600, `${count} operations`)
  // The documents are wrong there: exclusiveMaximum is a boolean, which 3.1 no longer has.
  t.strictSame(
    [...new Set(failed)],
    [
      '3.1 schema-validation-local.json GET /anything/numbers: Error: exclusiveMaximum value must be ["number"]',
      '3.1 schema-validation-top-level.json GET /anything/numbers: Error: exclusiveMaximum value must be ["number"]'
    ]
  )
})
