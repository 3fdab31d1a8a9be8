import { bundleSchema } from '../../src/lib/body/json-schema/references.ts'
import { requestBodyOf } from '../../src/lib/openapi/operations.ts'
import { isFormType, isJsonType } from './body.ts'
import { type Acceptance, compareBundles, fieldsReadAlike } from './compare-bundles.ts'
import type { Difference, PlacedOperation } from './compare-parameters.ts'
import { mediaTypeIn } from './operation-body.ts'
import { plainSchema } from './operation-schema.ts'

type Body = NonNullable<ReturnType<typeof requestBodyOf>>

/** Compares what two operations want of the bodies of requests. */
export function bodyDifferences(before: PlacedOperation, after: PlacedOperation): Difference[] {
  const [old, next] = [before, after].map(({ document, operation }) => requestBodyOf(document, operation))
  if (old === undefined || next === undefined)
    return old === next ? [] : [{ part: 'body', accepts: next === undefined ? 'more' : 'less' }]
  const found: Difference[] = []
  if (old.isRequired !== next.isRequired)
    found.push({ part: 'no body', accepts: next.isRequired ? 'less' : 'more' })
  for (const type of typesOf(old, next)) {
    const [own, other] = [mediaTypeIn(old.content, type), mediaTypeIn(next.content, type)]
    const part = `body ${type}`
    if (own === undefined || other === undefined) {
      if (own !== other) found.push({ part, accepts: other === undefined ? 'less' : 'more' })
      continue
    }
    const [one, two] = [bundleOf(before, old, own), bundleOf(after, next, other)]
    const accepts = compareContent(type, one, two)
    if (accepts !== 'same') found.push({ part, accepts })
  }
  return found
}

function bundleOf({ document }: PlacedOperation, { content }: Body, type: string) {
  const media = content.get(type)
  return bundleSchema(
    plainSchema(document, media && { value: media.node['schema'], uri: media.uri }, 'request')
  )
}

type Bundle = ReturnType<typeof bundleOf>

function compareContent(type: string, old: Bundle, next: Bundle): Acceptance {
  if (isJsonType(type)) return compareBundles(old, next)
  // What is no JSON and no form streams by.
  return isFormType(type) ? compareBundles(old, next, fieldsReadAlike) : 'same'
}

/** Lists a media type for every way in which two bodies tell them apart. */
function typesOf({ content }: Body, { content: other }: Body): string[] {
  const named = [...content.keys(), ...other.keys()]
  const ofRange = (range: string): string[] => {
    const kind = range === '*/*' ? 'other' : range.slice(0, -2)
    return [`${kind}/other`, `${kind}/other+json`, 'application/json', 'application/x-www-form-urlencoded']
  }
  return [...new Set(named.flatMap((type) => (type.endsWith('/*') ? ofRange(type) : [type])))].filter(
    (type) => !type.endsWith('/*')
  )
}
