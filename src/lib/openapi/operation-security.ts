import { isObject } from '../schema.ts'
import type { Node, OpenApiDocument } from './document.ts'
import type { Operation } from './operations.ts'

/** A Security Scheme Object under its name, and the scopes that an operation wants. */
export interface WantedCredential {
  readonly name: string
  readonly scheme: Node
  readonly scopes: readonly string[]
}

/** What an operation wants of its callers. */
export interface OperationSecurity {
  /** One of these, each a list of schemes that are needed together; none if it is public. */
  readonly alternatives: readonly (readonly WantedCredential[])[]
  /** Whether the operation or the document has "security". */
  readonly isDeclared: boolean
  /** What is wrong with it. */
  readonly fault?: string
}

/** Reads the security of an operation, or that of the document; what is not valid is a fault, and never public. */
export function operationSecurity(document: OpenApiDocument, { at }: Operation): OperationSecurity {
  const { root } = document
  const written = at.node['security'] === undefined ? root['security'] : at.node['security']
  if (written === undefined) return { alternatives: [], isDeclared: false }
  if (!Array.isArray(written)) return faulty('expected a list in "security"')
  const alternatives: WantedCredential[][] = []
  for (const requirement of written as unknown[]) {
    if (!isObject(requirement)) return faulty('expected a list of objects in "security"')
    const needed: WantedCredential[] = []
    for (const [name, scopes] of Object.entries(requirement)) {
      const scheme = schemeOf(document, name)
      if (scheme === undefined)
        return faulty(`expected a security scheme of the document, got "${name}", which it does not have`)
      if (!isTexts(scopes)) return faulty(`expected a list of scopes for the security scheme "${name}"`)
      needed.push({ name, scheme, scopes })
    }
    alternatives.push(needed)
  }
  return { alternatives, isDeclared: true }
}

const faulty = (fault: string): OperationSecurity => ({ alternatives: [], isDeclared: true, fault })

const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((each) => typeof each === 'string')

function schemeOf(document: OpenApiDocument, name: string): Node | undefined {
  const { components } = document.root
  const schemes = isObject(components) ? components['securitySchemes'] : undefined
  if (!isObject(schemes) || !Object.hasOwn(schemes, name)) return undefined
  return document.follow(schemes[name])?.node
}
