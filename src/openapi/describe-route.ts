import type { Plan, PlannedRoute } from '../config/plan-types.ts'
import type { Documentation } from '../kit/concern.ts'
import type {
  AboutDescription,
  DescribedErrorContent,
  DescribedRefusal,
  Description
} from '../kit/describe.ts'
import { isObject } from '../lib/schema.ts'

/** Collects what the concerns and the target of a route say of it, in the order in which they run. */
export function describeRoute(plan: Plan, route: PlannedRoute): Description[] {
  const { catalog, options: root, publicUrl } = plan
  const about: AboutDescription = {
    optionsOf: (key) => route.options[key] ?? root[key],
    publicUrl,
    paths: route.paths.map(({ text }) => text),
    methods: route.methods
  }
  const ofConcerns = catalog.concerns.flatMap(({ key, describes }): Description[] => {
    const options = route.options[key]
    if (describes === undefined || !isObject(options)) return []
    const description = describes(options as never, about)
    return [options['mode'] === 'report' ? asReported(description) : description]
  })
  const target = catalog.targets.find(({ key }) => key === route.target)
  const ofTarget = target?.describes?.(route.targetOptions as never, about)
  return ofTarget === undefined ? ofConcerns : [...ofConcerns, ofTarget]
}

/** Returns the bodies of an error. */
export type ErrorContentOf = (error: Pick<DescribedRefusal, 'status' | 'code'>) => DescribedErrorContent

/** Returns which bodies the errors of a route have: problem documents, unless a concern says otherwise. */
export function errorContentOf({ catalog, options: root }: Plan, route: PlannedRoute): ErrorContentOf {
  const concern = catalog.concerns.find(({ describesError }) => describesError !== undefined)
  const own = concern === undefined ? undefined : route.options[concern.key]
  const options = isObject(own) || concern === undefined ? own : root[concern.key]
  return (error) =>
    (isObject(options) ? concern?.describesError?.(options as never, error) : undefined) ?? PROBLEM_DOCUMENT
}

const PROBLEM_DOCUMENT: DescribedErrorContent = { 'application/problem+json': 'problem' }

/** Describes a gate in report mode: it refuses nothing, and so needs no credentials. */
function asReported(description: Description): Description {
  const { refusals: _refusals, security, body, ...rest } = description
  return {
    ...rest,
    ...(security === undefined ? {} : { security: [...security, []] }),
    ...(body === undefined ? {} : { body: { ...body, required: false } })
  }
}

/** Returns the texts of a route, and undefined if it is not to be described. */
export function textsOf({ catalog, options: root }: Plan, route?: PlannedRoute): Documentation | undefined {
  const concern = catalog.concerns.find(({ documents }) => documents !== undefined)
  if (concern === undefined) return undefined
  const options = route === undefined ? root[concern.key] : route.options[concern.key]
  return isObject(options) ? concern.documents?.(options as never) : undefined
}

/** Returns whether a request with a method can get a refusal. */
export function canGet({ onlyFor }: DescribedRefusal, method: string): boolean {
  if (onlyFor === 'bodies') return METHODS_WITH_BODY.has(method)
  return onlyFor !== 'unsafe' || !SAFE_METHODS.has(method)
}

/** The methods of OpenAPI 3.1 whose requests have a body with a meaning (RFC 9110 section 9.3). */
export const METHODS_WITH_BODY: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH'])

const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])
