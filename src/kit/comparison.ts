import type { RouteInfo } from './route-info.ts'

/** What kind of change `sallyport diff` reports; `--fail-on` takes these names. */
export const CHANGE_CLASSES = [
  'widened-access',
  'unknown',
  'narrowed-access',
  'loosened-limits',
  'tightened-limits',
  'exposure',
  'moved',
  'timing',
  'added',
  'removed'
] as const

export type ChangeClass = (typeof CHANGE_CLASSES)[number]

/** One change of an option. */
export interface OptionChange {
  readonly class: ChangeClass
  /** The path of the option inside the options of its module; its values are shown beside the message. */
  readonly path: readonly (string | number)[]
  /** What changes for requests, as a sentence without its subject and its full stop: "accepts another role". */
  readonly message: string
}

/** What a change of an option means: a class with its message, or the reason why every request is still answered alike. */
export type OptionMeaning = Pick<OptionChange, 'class' | 'message'> | string

/** The meaning of options that `changes` does not mention, by their path such as "cookie.name"; every other option is one that `changes` decides. */
export type OptionMeanings = Readonly<Record<string, OptionMeaning>>

/** The routes whose options are compared; undefined for root options. */
export interface AboutComparison {
  readonly before: RouteInfo | undefined
  readonly after: RouteInfo | undefined
  /** The names of the options that differ; files count by their content. */
  readonly changed: readonly string[]
  /** Returns a text that is equal for upstreams that send requests to the same places, whatever their names. */
  destination(side: 'before' | 'after', nameOrUrl: string): string
  /** Returns whether two files have the same content; also if there is neither. */
  isSameFile(before: string | undefined, after: string | undefined): boolean
}

/** A request as the access log has it. */
export interface LoggedRequest {
  readonly method: string
  readonly path: string
  /** The address of the client; empty if the line has none. */
  readonly ip: string
  /** Whether the line names no caller. */
  readonly isAnonymous: boolean
  /** The code of the refusal; undefined if there was none. */
  readonly code: string | undefined
}

/** How `diff` compares two resolved options of a concern. */
export interface Comparison {
  /** Whether refusals depend on how much is requested and not on who requests; by default the opposite of `guardsAccess`. */
  readonly limits?: boolean
  /** Whether a route with it counts as protected; by default if it is a gate without `limits`. */
  readonly protects?: boolean | ((options: never) => boolean)
  /** Returns whether the options of a route refuse any request; by default all do. */
  readonly restricts?: (options: never, route: RouteInfo) => boolean
  /** Returns whether what options mean depends on the paths of the route. */
  readonly byPaths?: (options: never) => boolean
  /** Returns what changes for requests; a concern that is no gate gets undefined where it is off. */
  readonly changes?: (before: never, after: never, about: AboutComparison) => readonly OptionChange[]
  readonly options?: OptionMeanings
  /** What it means that a concern that is no gate is on in one config only, if `changes` does not mention it. */
  readonly onOff?: OptionMeaning
  /** Returns the upstreams, by name or URL, that decide about requests. */
  readonly asks?: (options: never) => readonly string[]
  /** Returns the files whose content counts, beside those that options name. */
  readonly files?: (options: never) => readonly string[]
  /** Returns the places that the requests to a named entry are sent to, sorted. */
  readonly destinations?: (entry: never) => readonly string[]
  /** Returns whether a logged request passes a gate; undefined if the log does not tell. */
  readonly admits?: (options: never, request: LoggedRequest) => boolean | undefined
}

/** How `diff` compares two resolved options of a target. */
export interface TargetComparison {
  /** Returns what requests can reach: upstreams by name or URL, or folders, each with what else decides about it, such as a rewritten path. */
  readonly reaches?: (options: never) => readonly Reached[]
  /** Returns whether every request is refused, such as by a response with 403; by default none is. */
  readonly refuses?: (options: never) => boolean
  /** Returns what else changes for requests, beside what is reached. */
  readonly changes?: (before: never, after: never, about: AboutComparison) => readonly OptionChange[]
  readonly options?: OptionMeanings
}

/** Something that the requests of a route reach. */
export interface Reached {
  /** An upstream, by its name or URL. */
  readonly upstream?: string
  /** A file or folder, by its absolute name. */
  readonly file?: string
  /** What else decides which part of it is reached. */
  readonly as?: string
}
