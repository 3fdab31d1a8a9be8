import { parseAllDocuments } from 'yaml'

/** The part of a Kubernetes document that all kinds have. */
export interface Resource {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string }
}

/** Reads a text of YAML documents, without empty ones. */
export function parseDocuments<T>(text: string): T[] {
  return parseAllDocuments(text, { merge: true })
    .map((each) => {
      if (each.errors.length > 0) throw each.errors[0]
      return each.toJS() as T | null
    })
    .filter((each) => each !== null)
}

/** What a validator never looked at is what the schema does not know: a typo, which Kubernetes would drop in silence. */
function watched(value: object, path: string, unseen: Set<string>): object {
  const seen = new Map<string, unknown>()
  for (const key of Object.keys(value)) unseen.add(`${path}.${key}`)
  return new Proxy(value, {
    get(target, key) {
      const inner = Reflect.get(target, key) as unknown
      if (typeof key !== 'string') return inner
      unseen.delete(`${path}.${key}`)
      if (typeof inner !== 'object' || inner === null) return inner
      if (!seen.has(key)) seen.set(key, watched(inner, `${path}.${key}`, unseen))
      return seen.get(key)
    }
  })
}

type Validator = ((data: unknown) => boolean) & { errors?: { instancePath: string; params: object }[] | null }

/** Lists what the schema of Kubernetes has against a document, unknown fields included. */
export async function faultsOf(resource: Resource): Promise<string[]> {
  const [group = '', version = ''] = `core/${resource.apiVersion}`.split('/').slice(-2)
  const title = (word: string): string => `${word.charAt(0).toUpperCase()}${word.slice(1)}`
  const name = `IoK8sApi${title(group.split('.')[0] ?? '')}${title(version)}${resource.kind}`
  const { validate } = (await import(`kubernetes-models/_schemas/${name}`)) as { validate: Validator }
  const unseen = new Set<string>()
  const sound = validate(watched(resource, resource.kind, unseen))
  const faults = sound ? [] : (validate.errors ?? [])
  return [
    ...faults.map(({ instancePath, params }) => `${resource.kind}${instancePath}: ${JSON.stringify(params)}`),
    ...[...unseen].map((path) => `${path} is nothing that Kubernetes knows`)
  ]
}
