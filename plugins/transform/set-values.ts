import type { FastifyRequest } from 'fastify'
import { type OptionFault, template } from '../../src/kit/index.ts'
import { fillJson, jsonTemplate, jsonTemplateFaults } from '../../src/lib/body/values-in-json.ts'
import { paramFaults } from '../../src/lib/http/rewrite.ts'
import { templateFaults } from '../../src/lib/values.ts'

type Values = Readonly<Record<string, unknown>>
type Make = (request: FastifyRequest) => unknown

/** Compiles the values of `set`, whose texts may refer to values of the request; a missing one is undefined. */
export const compileSet = (values: Values): Record<string, Make> =>
  Object.fromEntries(Object.entries(values).map(([path, value]) => [path, compileValue(value)]))

function compileValue(value: unknown): Make {
  const compiled = jsonTemplate(value)
  const readers = new Map(
    compiled.references.map((reference) => [reference, template(`{${reference}}`)] as const)
  )
  return (request) => fillJson(compiled, (reference) => readers.get(reference)?.renderWhole(request))
}

/** Compiles which values of a request `set` refers to, known or not. */
export function valuesInSet(values: Values): (request: FastifyRequest) => (string | undefined)[] {
  const references = Object.values(values).flatMap((value) => jsonTemplate(value).references)
  const templates = [...new Set(references)].map((reference) => template(`{${reference}}`))
  return (request) => templates.map((each) => each.renderWhole(request))
}

/** Returns the errors in the values of `set` on a route with these paths. */
export const setFaults = (
  values: Values,
  path: OptionFault['path'],
  paths: readonly string[]
): OptionFault[] =>
  Object.entries(values).flatMap(([name, value]) => {
    const at = [...path, name]
    const malformed = jsonTemplateFaults(value, at)
    if (malformed.length > 0) return malformed
    return jsonTemplate(value).references.flatMap((reference) => {
      const unknown = templateFaults(`{${reference}}`, at)
      return unknown.length > 0 ? unknown : paramFaults(`{${reference}}`, paths, at)
    })
  })
