//! Sentence embeddings behind InvokeModel: a worker for each core. A worker takes a share of what waits at once, so that
//! short texts of many requests go through the network together.

use std::sync::{Arc, Mutex, mpsc};

use minilm::MiniLm;
use tokio::sync::oneshot;

/// Texts that one worker takes at a time, at most: the ingestion's eight requests in flight keep two cores busy.
const SHARE: usize = 4;

struct Job {
    text: String,
    reply: oneshot::Sender<Vec<f32>>,
}

/// The workers; they end when the last clone is gone.
#[derive(Clone, Debug)]
pub(super) struct Workers {
    jobs: mpsc::Sender<Job>,
}

impl Workers {
    pub(super) fn start(model: &Arc<MiniLm>) -> Self {
        let (jobs, waiting) = mpsc::channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..cores {
            let (model, waiting) = (model.clone(), waiting.clone());
            std::thread::spawn(move || while work(&model, &waiting).is_some() {});
        }
        Self { jobs }
    }

    /// The embeddings of texts, in order; `None` when a worker broke off.
    pub(super) async fn embed(&self, texts: &[String]) -> Option<Vec<Vec<f32>>> {
        let mut replies = Vec::with_capacity(texts.len());
        for text in texts {
            let (reply, answer) = oneshot::channel();
            let text = text.clone();
            self.jobs.send(Job { text, reply }).ok()?;
            replies.push(answer);
        }
        let mut vectors = Vec::with_capacity(replies.len());
        for answer in replies {
            vectors.push(answer.await.ok()?);
        }
        Some(vectors)
    }
}

/// One share; `None` when nothing will come any more.
fn work(model: &MiniLm, waiting: &Mutex<mpsc::Receiver<Job>>) -> Option<()> {
    let jobs: Vec<Job> = {
        let waiting = waiting.lock().ok()?;
        let first = waiting.recv().ok()?;
        std::iter::once(first)
            .chain(waiting.try_iter().take(SHARE - 1))
            .collect()
    };
    let texts: Vec<&str> = jobs.iter().map(|job| job.text.as_str()).collect();
    let vectors = model.embed_here(&texts);
    for (job, vector) in jobs.into_iter().zip(vectors) {
        // Whoever asked may have hung up.
        let _ = job.reply.send(vector);
    }
    Some(())
}
