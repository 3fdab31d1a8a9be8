import { etagOf } from '../../src/lib/http/etags.ts'
import { HTML } from '../../src/lib/http/page.ts'
import { getOrCreate } from '../../src/lib/memoize.ts'
import { jsonInSteps, type Printer, yamlInSteps } from '../../src/lib/openapi/print.ts'
import { runSliced } from '../../src/lib/time-slicing.ts'
import { DOCUMENT_LINKS, operationsPage, PAGE_POLICY } from './page.ts'
import { UI_PAGE, UI_POLICY, UI_SCRIPT } from './swagger-ui.ts'

/** A response that is made once. */
export interface Rendered {
  readonly type: string
  readonly body: Buffer
  readonly etag: string
  /** The Content-Security-Policy of a page. */
  readonly policy?: string
}

function rendered(type: string, text: string, rest: Pick<Rendered, 'policy'> = {}): Rendered {
  const body = Buffer.from(text)
  return { type, body, etag: etagOf(body), ...rest }
}

type Document = Readonly<Record<string, unknown>>

interface FormParts extends Pick<Rendered, 'policy'> {
  readonly type: string
  readonly print: Printer
}

/** How a document is shown, by the name of the form. */
const FORMS = {
  json: { type: 'application/json; charset=utf-8', print: jsonInSteps },
  yaml: { type: 'application/yaml; charset=utf-8', print: yamlInSteps },
  page: { type: HTML, print: (document) => operationsPage(document, DOCUMENT_LINKS), policy: PAGE_POLICY },
  // On a path of its own, without files below.
  pageAlone: { type: HTML, print: (document) => operationsPage(document, ''), policy: PAGE_POLICY }
} satisfies Record<string, FormParts>

/** A form in which a document is shown. */
export type Form = keyof typeof FORMS

const known = new WeakMap<Document, Map<Form, Promise<Rendered>>>()

/** Returns a document in a form; each is made at first use and lives as long as the document. */
export const renderDocument = (document: Document, form: Form): Promise<Rendered> =>
  getOrCreate(
    getOrCreate(known, document, () => new Map<Form, Promise<Rendered>>()),
    form,
    async () => {
      const { type, print, ...rest }: FormParts = FORMS[form]
      return rendered(type, await runSliced(print(document)), rest)
    }
  )

/** The files of Swagger UI that the gateway has itself, by name. */
export const UI_OWN_FILES: ReadonlyMap<string, Rendered> = new Map([
  ['', rendered(HTML, UI_PAGE, { policy: UI_POLICY })],
  ['init.js', rendered('text/javascript; charset=utf-8', UI_SCRIPT)]
])
