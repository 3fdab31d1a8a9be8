import { literal } from './values.ts'

/** Returns a literal path in our syntax, where a colon begins a parameter and some characters are refused. */
export const pathText = (path: string): string =>
  literal(encodeURI(path.startsWith('/') ? path : `/${path}`).replaceAll('%25', '%'))
    .replaceAll(/[:*{}<>?#]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll(/\/{2,}/g, '/')
