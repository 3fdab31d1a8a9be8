/** A JSON Schema (2020-12); a reference that begins with "#" leads to a place in the schema itself. */
export type JsonSchema = boolean | Readonly<Record<string, unknown>>

/** What a concern or a target adds to the OpenAPI description of a route. */
export interface Description {
  /** The schema of an object with the parameters of the path, by name. */
  readonly params?: JsonSchema
  /** The schema of an object with the parameters of the query, by name. */
  readonly query?: JsonSchema
  /** The schema of an object with the request headers, by name. */
  readonly headers?: JsonSchema
  /** The request body: the schema of each media type, and whether a request needs one. */
  readonly body?: { readonly content: Readonly<Record<string, JsonSchema>>; readonly required?: boolean }
  /** The errors that it may respond with, as problem documents. */
  readonly refusals?: readonly DescribedRefusal[]
  /** The other responses, by status or "default". */
  readonly responses?: Readonly<Record<string, DescribedResponse>>
  /** The headers that it adds to the responses of the target. */
  readonly responseHeaders?: DescribedHeaders
  /** What a request has to authenticate with: one of these, each a list of schemes that are needed together; an empty list is none. */
  readonly security?: readonly (readonly DescribedCredential[])[]
  /** The methods that a target responds to where the config names none. */
  readonly methods?: readonly string[]
  /** Operations below the paths of the route. */
  readonly document?: DescribedDocument
  /** Sentences for the description of the operation. */
  readonly notes?: readonly string[]
}

/** Operations of an OpenAPI 3.1 document, whose references all lead to its components. */
export interface DescribedDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  readonly components: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  /** The security that its operations want by default. */
  readonly security?: unknown
  /** The paths that its paths are below, as in the config; by default those of the route. Then an exact route has the operations of its own path alone. */
  readonly base?: readonly string[]
  /** Whether requests for other operations are refused. */
  readonly isComplete: boolean
}

/** An error response; `describeRefusal` makes one. */
export interface DescribedRefusal {
  readonly status: number
  readonly code: string
  readonly headers?: DescribedHeaders
  /** The schemas of the members that it adds to the problem document, by name. */
  readonly members?: Readonly<Record<string, JsonSchema>>
  /** Which requests can get it: those with a body, or those with a method that is not safe; by default all. */
  readonly onlyFor?: 'bodies' | 'unsafe'
}

/** The bodies of an error: the schema of each media type, or the problem document with the members of the refusal. */
export type DescribedErrorContent = Readonly<Record<string, JsonSchema | 'problem'>>

/** A response of a target. */
export interface DescribedResponse {
  readonly description: string
  readonly headers?: DescribedHeaders
  /** The schema of each media type. */
  readonly content?: Readonly<Record<string, JsonSchema>>
}

/** Response headers, by name. */
export type DescribedHeaders = Readonly<
  Record<string, { readonly description: string; readonly schema?: JsonSchema }>
>

/** A credential: a Security Scheme Object of OpenAPI 3.1 under a name, and the scopes or roles that it needs. */
export interface DescribedCredential {
  readonly name: string
  readonly scheme: Readonly<Record<string, unknown>>
  readonly scopes?: readonly string[]
}

/** The rest of a route, for `describes`. */
export interface AboutDescription {
  /** Returns the resolved options of another concern on the route, else those of the root; undefined if it is not installed. */
  optionsOf(key: string): unknown
  /** The origin that browsers see (`publicUrl`); undefined if it is not configured. */
  readonly publicUrl: string | undefined
  /** The paths of the route, as in the config. */
  readonly paths: readonly string[]
  /** The methods of the route, with HEAD where GET is; undefined for all. */
  readonly methods: readonly string[] | undefined
}

/** Describes an error by its constructor, which knows the code and the status. */
export function describeRefusal(
  RefusalError: new (...args: never[]) => { readonly code: string; readonly statusCode?: number },
  rest: Omit<DescribedRefusal, 'status' | 'code'> = {}
): DescribedRefusal {
  const { code, statusCode = 500 } = new RefusalError()
  return { status: statusCode, code, ...rest }
}

/** The Retry-After of a response, for `headers`. */
export const RETRY_AFTER: DescribedHeaders = {
  'Retry-After': {
    description: 'After how many seconds to try again.',
    schema: { type: 'integer', minimum: 0 }
  }
}
