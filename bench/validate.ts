// Measures what the validation of a JSON body costs, beside JSON.parse alone: `node bench/validate.ts`.

import { judgeJson } from '../plugins/validate/body.ts'
import { SchemaCompiler } from '../src/lib/body/json-schema/compiler.ts'
import { bundleSchema } from '../src/lib/body/json-schema/references.ts'

const items = Array.from({ length: 75 }, (_, i) => ({
  sku: `A-${1000 + i}`,
  name: `A thing of some kind, number ${i}`,
  price: 9.99 + i,
  tags: ['new', 'blue'],
  created: '2026-11-30T07:00:00Z'
}))
const body = Buffer.from(JSON.stringify({ customer: '550e8400-e29b-41d4-a716-446655440000', items }))
const validate = new SchemaCompiler(
  bundleSchema({
    type: 'object',
    required: ['customer', 'items'],
    additionalProperties: false,
    properties: {
      customer: { type: 'string', format: 'uuid' },
      items: { type: 'array', maxItems: 100, items: { $ref: '#/$defs/item' } }
    },
    $defs: {
      item: {
        type: 'object',
        required: ['sku', 'price'],
        additionalProperties: false,
        properties: {
          sku: { type: 'string', pattern: '^[A-Z]-[0-9]{4}$' },
          name: { type: 'string', maxLength: 100 },
          price: { type: 'number', minimum: 0 },
          tags: { type: 'array', items: { enum: ['new', 'blue'] }, uniqueItems: true },
          created: { type: 'string', format: 'date-time' }
        }
      }
    }
  })
).at()

const RUNS = 4000

/** Returns the best of several rounds, in microseconds a run. */
function measure(run: () => void): number {
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < 7; round++) {
    const began = performance.now()
    for (let i = 0; i < RUNS; i++) run()
    best = Math.min(best, ((performance.now() - began) / RUNS) * 1000)
  }
  return best
}

const parse = measure(() => void JSON.parse(body.toString()))
const judge = measure(() => {
  if (judgeJson(body, validate) !== undefined) throw new Error('the body is valid')
})
console.log(
  `${body.length} bytes: JSON.parse ${parse.toFixed(1)} µs, validation ${judge.toFixed(1)} µs, ${(judge / parse).toFixed(2)} times as long`
)
