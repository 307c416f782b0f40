// The disk of the blobs has no room left.
import { randomBytes } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import { codeName, RpcError } from '@docmesh/rpc'
import type { Lab } from './lab.ts'
import { END_MS, type FleetScenario, failedOf, inFleet, settled } from './scenario.ts'
import { partsOf } from './work.ts'

const DISK_MIB = 8
const FILLER_BYTES = 512 * 1024
const MAX_FILLERS = 4 * ((DISK_MIB * 1024 * 1024) / FILLER_BYTES)
/** Of fillers that did not fit: by then smaller ones do not either. */
const REFUSALS = 3

export const blobDiskFull: FleetScenario = ({ short }) => {
  const analyses = short ? 8 : 24
  const bar = `an upload to a full disk ends with RESOURCE_EXHAUSTED and leaves nothing; ${analyses} of ${analyses} analyses of earlier documents complete meanwhile; uploads work when there is room again; 0 violations`
  return inFleet({ instances: 1, blobDiskMiB: DISK_MIB }, bar, async (lab) => {
    const { work } = lab
    const early = await work.upload(analyses)
    const filled = await fill(lab)
    const staged = await readdir(join(lab.blobDir, 'staging'))
    const meanwhile = await work.analyze(early)
    const endedMeanwhile = await work.ended(analyses, { timeoutMs: END_MS })
    const failed = failedOf(analyses, endedMeanwhile)

    const roomAt = performance.now()
    const documents = lab.mesh.client(DocumentServiceDefinition, 'document')
    for (const documentId of filled.documentIds)
      await documents.deleteDocument({ documentId, reason: 'room' })
    const late = await work.analyze(await work.upload(1))
    const heal_ms = Math.round(performance.now() - roomAt)
    const asked = [...meanwhile, ...late]
    const failedLater = failedOf(asked.length, await work.ended(asked.length, { timeoutMs: END_MS }))
    const found = await settled(lab, { asked })
    const isClear = filled.refusals.every((refusal) => refusal === 'RESOURCE_EXHAUSTED: STORAGE_FULL')
    return {
      ok: isClear && staged.length === 0 && failed + failedLater === 0 && found.violation_count === 0,
      calls: asked.length + filled.documentIds.length + filled.refusals.length,
      failed: failed + failedLater,
      heal_ms,
      ...found,
      analyses: asked.length,
      fillers: filled.documentIds.length,
      refused: filled.refusals.length,
      refusals: [...new Set(filled.refusals)],
      left_in_staging: staged.length,
      repeated_calls: work.repeated(),
      bar,
    }
  })
}

/** Uploads until the disk is full; what it took, and what callers heard of the rest. */
async function fill({ mesh }: Lab) {
  const documents = mesh.client(DocumentServiceDefinition, 'document')
  const documentIds: string[] = []
  const refusals: string[] = []
  for (let number = 0; number < MAX_FILLERS && refusals.length < REFUSALS; number++) {
    const text = Buffer.from(randomBytes(FILLER_BYTES / 2).toString('hex'))
    await documents.uploadDocument(partsOf(`filler-${number}`, text)).then(
      ({ document }) => documentIds.push(document?.id ?? ''),
      (error: unknown) => refusals.push(refusalOf(error)),
    )
  }
  if (refusals.length === 0) throw new Error(`the disk took ${documentIds.length} documents and is not full`)
  return { documentIds, refusals }
}

const refusalOf = (error: unknown): string =>
  error instanceof RpcError ? `${codeName(error.code)}: ${error.reason}` : String(error)
